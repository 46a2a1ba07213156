"""Setting up a new project as its owner types it; what it creates is in tests/pipeline/setup."""

import pytest

from tests import documentation
from tests.gcloud import new_project


@pytest.fixture
def owner(cloud) -> dict[str, str]:
    """The environment of the owner of a project in which there is nothing."""
    signed_in = documentation.signed_in_as(cloud, new_project(cloud))
    named = {"GCP_PROJECT": cloud.project, "GCP_REGION": cloud.region, "WORKSPACE": f"gs://{cloud.bucket}/spanloop"}
    return signed_in | named


def test_a_new_project_is_planned_set_up_and_ready(ci, cloud, owner):
    planned = ci("setup", "--repository", cloud.github.repository, "--dry-run", "--json", **owner)
    assert planned.code == 0 and not cloud.gcs.store.buckets
    actions = [step["action"] for step in planned.json["steps"]]
    assert actions.count("create") == 41 and actions.count("none") == 2
    assert f"+ bucket gs://{cloud.bucket} in europe-west1" in planned.err

    done = ci("setup", "--repository", cloud.github.repository, "--json", **owner)
    assert done.code == 0 and done.json["steps"] == planned.json["steps"]
    assert done.json["release_token_missing"] and "repeat the command with --release-token" in done.err
    provider = "projects/123456789012/locations/global/workloadIdentityPools/github/providers/github"
    assert done.json["variables"]["WORKLOAD_IDENTITY_PROVIDER"] == provider
    assert f"gh variable set GCP_REGION --repo {cloud.github.repository} --body europe-west1" in done.err
    assert f"gh api --method PUT repos/{cloud.github.repository}/environments/evaluation" in done.err

    again = ci("setup", "--repository", cloud.github.repository, "--release-token", __file__, "--json", **owner)
    assert {step["action"] for step in again.json["steps"]} == {"none"}
    assert not again.json["release_token_missing"]
    ready = ci("doctor", "--json", **owner | done.json["settings"])
    assert ready.code == 0 and not [check for check in ready.json["checks"] if not check["ok"]], ready.err


def test_what_it_does_not_create_is_refused_before_anything_is(ci, cloud, owner):
    for arguments, variables, message in (
        ([], {"PIPELINE_SERVICE_ACCOUNT": "a@other.iam.gserviceaccount.com"}, "an account of the project"),
        ([], {"IMAGE_REPOSITORY": "docker.io/me/pipelines"}, "on Artifact Registry"),
        (["--public"], {"DEVICE_CHANNEL": owner["WORKSPACE"]}, "another bucket than that of WORKSPACE"),
        ([], {"WORKSPACE": "./workspace"}, "WORKSPACE"),
    ):
        done = ci("setup", *arguments, **owner | variables)
        assert done.code == 2 and message in done.err, done.err
    assert not cloud.gcs.store.buckets and not cloud.accounts.accounts


def test_without_credentials_it_says_how_to_sign_in(ci, cloud, owner, tmp_path):
    gone = str(tmp_path / "gone.json")

    done = ci("setup", "--dry-run", **owner | {"GOOGLE_APPLICATION_CREDENTIALS": gone})

    assert done.code == 1 and gone in done.err and "gcloud auth application-default login" in done.err
    assert "Traceback" not in done.err
