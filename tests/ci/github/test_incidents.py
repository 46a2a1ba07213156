"""One issue for as long as something is wrong, on the local GitHub."""

import pytest

from ci.github import incidents
from pipeline.github import client


@pytest.fixture
def repository(cloud_environment):
    github = cloud_environment.github
    return client.repository(github.repository, github.token(contents="read", issues="write"))


@pytest.fixture
def issues(cloud):
    """The issues, the oldest first."""
    return lambda: list(cloud.github.issues.issues.values())


def test_failures_are_one_issue_which_closes_when_all_is_well(repository, issues, cloud):
    address = incidents.report(repository, "Collected data", "It fails", "first")
    assert incidents.report(repository, "collected data", "It fails", "second") == address
    (issue,) = issues()
    assert issue["title"] == "It fails" and issue["labels"] == [{"name": "spanloop"}]
    assert "2 so far" in issue["body"] and issue["body"].index("- second") < issue["body"].index("- first")

    assert incidents.resolve(repository, "collected data", "passed") == [address]
    assert issues()[0]["state"] == "closed" and cloud.github.issues.texts(1) == ["passed"]
    assert incidents.resolve(repository, "collected data", "passed") == []

    assert incidents.report(repository, "collected data", "It fails", "third") != address
    assert [issue["state"] for issue in issues()] == ["closed", "open"] and "1 so far" in issues()[1]["body"]


def test_each_workflow_has_an_issue_of_its_own(repository, issues):
    incidents.report(repository, "evaluation", "a", "1")
    incidents.report(repository, "collected data", "b", "1")
    incidents.resolve(repository, "evaluation", "passed")
    assert [issue["state"] for issue in issues()] == ["closed", "open"]


def test_a_run_that_is_run_again_counts_once(repository, issues):
    for _ in range(3):
        incidents.report(repository, "evaluation", "a", "run 17")
    assert "1 so far" in issues()[0]["body"]


def test_a_long_story_is_cut(repository, issues):
    for number in range(15):
        incidents.report(repository, "evaluation", "a", f"run {number}")
    body = issues()[0]["body"]
    assert "15 so far" in body and body.count("\n- ") == incidents.KEPT and "run 14" in body and "run 4" not in body


def test_a_lost_answer_leaves_one_open_issue(repository, issues, cloud):
    cloud.faults.add("github", "issues/create", kind="lose")
    incidents.report(repository, "evaluation", "a", "1")
    incidents.report(repository, "evaluation", "a", "2")
    assert [issue["state"] for issue in issues()].count("open") == 1


def test_where_issues_are_switched_off_it_says_how_to_switch_them_on(repository, cloud):
    cloud.github.issues.enabled = False
    with pytest.raises(
        incidents.NoIssues, match="acme/widget has issues disabled.*gh repo edit acme/widget --enable-issues"
    ):
        incidents.report(repository, "evaluation", "a", "1")
    assert incidents.resolve(repository, "evaluation", "passed") == []


def test_an_issue_of_another_user_is_left_alone(repository, issues, cloud):
    person = client.repository(cloud.github.repository, cloud.github.token())
    incidents.report(repository, "evaluation", "a", "1")
    copied = issues()[0]["body"]
    person.create_issue("About the marker", body=copied)  # without the label
    person.create_issue("Something else", body="Text", labels=[incidents.LABEL])
    incidents.resolve(repository, "evaluation", "passed")
    assert [issue["state"] for issue in issues()] == ["closed", "open", "open"]


@pytest.mark.parametrize("kind", ["500", "503", "cut", "lose"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_call_that_fails_once_is_made_again(repository, issues, cloud, kind, nth):
    cloud.faults.add("github", nth=nth, kind=kind)
    incidents.report(repository, "evaluation", "a", "1")
    incidents.report(repository, "evaluation", "a", "2")
    incidents.resolve(repository, "evaluation", "passed")
    assert {issue["state"] for issue in issues()} == {"closed"}
