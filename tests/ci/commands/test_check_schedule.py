"""A warning before GitHub ends schedules, on the local GitHub."""

import datetime

import pytest


@pytest.fixture
def check(ci, cloud):
    def run(idle: int):
        now = datetime.datetime.now(datetime.timezone.utc)
        cloud.github.about.pushed = now - datetime.timedelta(days=idle)
        token = cloud.github.token(contents="read", issues="write")
        job = {"GITHUB_REPOSITORY": cloud.github.repository, "GITHUB_TOKEN": token}
        return ci("check-schedule", "--json", **job, **cloud.environment).json

    return run


def test_an_issue_warns_without_recent_pushes_and_is_closed_after_one(check, cloud):
    assert not check(3)["soon"] and not cloud.github.issues.issues
    warned = check(50)
    assert warned["soon"] and warned["idle_days"] == 50
    assert check(50)["issue"] == warned["issue"]
    (issue,) = cloud.github.issues.issues.values()
    assert warned["ends"] in issue["title"] and "push a commit" in issue["body"] and issue["state"] == "open"
    assert not check(0)["soon"] and issue["state"] == "closed"


def test_a_default_branch_that_no_workflow_waits_for_is_an_issue_until_it_is_right(check, cloud, monkeypatch):
    assert check(0)["default_branch"] == "main" and not cloud.github.issues.issues
    monkeypatch.setattr(cloud.github, "default_branch", "trunk")

    wrong = check(0)

    (issue,) = cloud.github.issues.issues.values()
    assert wrong["branch_issue"] == issue["html_url"] and wrong["issue"] is None
    assert ".github/workflows/cd.yml (main)" in issue["body"] and "`branches: [trunk]`" in issue["body"]
    assert check(0)["branch_issue"] == issue["html_url"]
    monkeypatch.setattr(cloud.github, "default_branch", "main")
    assert check(0)["branch_issue"] is None and issue["state"] == "closed"
