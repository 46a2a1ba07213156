"""The job's data in GitHub's environment variables."""

import json

import pytest

from ci.github.job import Job, Needed, needed
from pipeline.errors import UsageError

VARIABLES = {
    "GITHUB_REPOSITORY": "acme/widget",
    "GITHUB_WORKFLOW": "collected data",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_RUN_ID": "17",
}


def test_a_job_knows_its_repository_and_its_run():
    job = Job.from_environment(VARIABLES)
    assert (job.repository, job.workflow, job.branch) == ("acme/widget", "collected data", "main")
    assert job.run == "https://github.example/acme/widget/actions/runs/17"


def test_by_hand_only_the_repository_is_needed():
    assert Job.from_environment({"GITHUB_REPOSITORY": "a/b"}) == Job("a/b", "", "", "")
    with pytest.raises(UsageError, match="GITHUB_REPOSITORY is not set"):
        Job.from_environment({})


def test_results_of_jobs_are_read_as_github_writes_them():
    jobs = {"route": {"result": "success", "outputs": {"branch": "none"}}, "tests": {"result": "skipped"}}
    found = needed({"NEEDS": json.dumps(jobs)})
    assert found == {"route": Needed("success", {"branch": "none"}), "tests": Needed("skipped", {})}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {}}', '"success"'])
def test_other_text_is_an_error(text):
    with pytest.raises(UsageError, match="toJSON"):
        needed({"NEEDS": text})
