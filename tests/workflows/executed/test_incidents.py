"""Unattended runs, executed: one issue for as long as the scheduled workflow fails."""

import datetime

import pytest

from tests.workflows.repository import Repository

pytestmark = pytest.mark.timeout(600)


class Story:
    """The scheduled workflow fails twice without its bucket, then passes; later the last push is 50 days old."""

    def __init__(self, repository: Repository):
        self.repository, github = repository, repository.cloud.github
        workspace = repository.variables["WORKSPACE"]
        self.runs, self.issues = [], []
        for bucket in ("gs://a-bucket-that-is-gone/spanloop", "gs://a-bucket-that-is-gone/spanloop", workspace):
            repository.variables["WORKSPACE"] = bucket
            self.runs.append(repository.tick("collected-data.yml"))
            self.issues.append([dict(issue) for issue in github.issues.issues.values()])
        self.closing_words = github.issues.texts(1)
        github.about.pushed -= datetime.timedelta(days=50)
        self.late = repository.tick("collected-data.yml")
        self.warning = list(github.issues.issues.values())[-1]


@pytest.fixture(scope="module")
def story(configured) -> Story:
    return Story(configured)


def test_a_scheduled_run_that_fails_opens_one_issue(story):
    first = story.runs[0]
    assert first.results == {"count": "failure", "watch": "success"}, first.describe()
    (issue,) = story.issues[0]
    assert issue["state"] == "open" and issue["title"] == "The workflow collected data fails"
    assert f"/actions/runs/{first.id}" in issue["body"]


def test_a_second_failure_is_added_to_it(story):
    first, second, _ = story.runs
    assert second.results == {"count": "failure", "watch": "success"}, second.describe()
    (issue,) = story.issues[1]
    assert issue["state"] == "open"
    assert all(f"/actions/runs/{run.id}" in issue["body"] for run in (first, second))


def test_a_run_that_passes_closes_it(story):
    third = story.runs[2]
    assert third.results == {"count": "success", "watch": "success"}, third.describe()
    (issue,) = story.issues[2]
    assert issue["state"] == "closed" and any(f"/actions/runs/{third.id}" in text for text in story.closing_words)


def test_an_issue_warns_before_github_disables_the_schedule(story):
    assert story.late.passed, story.late.describe()
    assert "Scheduled workflows end on" in story.warning["title"] and story.warning["state"] == "open"
    assert story.late.started == []
