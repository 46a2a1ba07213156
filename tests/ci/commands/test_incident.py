"""Issues about failing scheduled runs, on the local GitHub."""

import json

import pytest


@pytest.fixture
def incident(ci, cloud):
    def run(result: str, number: int):
        return ci(
            "incident",
            "--json",
            NEEDS=json.dumps({"count": {"result": result}, "other": {"result": "skipped"}}),
            GITHUB_REPOSITORY=cloud.github.repository,
            GITHUB_WORKFLOW="collected data",
            GITHUB_RUN_ID=str(number),
            GITHUB_TOKEN=cloud.github.token(contents="read", issues="write"),
            **cloud.environment,
        )

    return run


def test_failures_are_one_issue_that_closes_itself(incident, cloud):
    issues = cloud.github.issues.issues
    assert incident("success", 1).json == {"failed": [], "issue": None, "closed": []}
    first, second = incident("failure", 2), incident("cancelled", 3)
    assert first.json["failed"] == ["count"] and first.json["issue"] == second.json["issue"]
    (issue,) = issues.values()
    assert issue["title"] == "The workflow collected data fails"
    assert all(f"/acme/widget/actions/runs/{number}" in issue["body"] for number in (2, 3))
    assert incident("success", 4).json["closed"] == [first.json["issue"]] and issue["state"] == "closed"
