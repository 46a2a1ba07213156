"""A repository's variables as settings."""

import json

import pytest

from ci.github.variables import NEEDED, read, settings
from pipeline.config import Config
from pipeline.errors import ConfigError, MisspelledSetting, TaskInVariable, UsageError

VARIABLES = {
    "GCP_PROJECT": "widgets-123",
    "GCP_REGION": "europe-west1",
    "WORKSPACE": "gs://widgets/loop",
    "WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/github/providers/github",
    "RELEASE_TOKEN_SECRET": "projects/widgets-123/secrets/github-token/versions/latest",
}


def test_the_five_that_are_needed_are_enough():
    assert set(VARIABLES) == set(NEEDED)
    found = settings(VARIABLES, "acme/widget")
    assert found.configured
    config = Config.from_environment(found.environment)
    assert config.releases == "github:acme/widget" and config.workspace == "gs://widgets/loop"
    assert config.service_account == "pipelines@widgets-123.iam.gserviceaccount.com"
    assert config.build_service_account == "builds@widgets-123.iam.gserviceaccount.com"
    assert config.image_repository == "europe-west1-docker.pkg.dev/widgets-123/spanloop/pipelines"


def test_what_is_set_is_not_derived():
    found = settings(VARIABLES | {"RELEASES": "gs://widgets/models", "SEED": "3"}, "acme/widget")
    assert found.environment["RELEASES"] == "gs://widgets/models" and found.environment["SEED"] == "3"


def test_a_fresh_fork_has_none_and_the_missing_ones_are_named():
    found = settings({}, "acme/widget")
    assert not found.configured and found.missing == tuple(NEEDED) and found.environment == {}


@pytest.mark.parametrize("name", VARIABLES)
def test_without_one_nothing_goes_to_google_cloud(name):
    found = settings({**VARIABLES, name: ""}, "acme/widget")
    assert not found.configured and found.missing == (name,) and "RELEASES" not in found.environment


def test_releases_in_a_bucket_need_no_token():
    found = settings(VARIABLES | {"RELEASES": "gs://widgets/models", "RELEASE_TOKEN_SECRET": ""}, "acme/widget")
    assert found.configured and not found.environment.get("RELEASE_TOKEN_SECRET")


def test_no_variable_but_a_setting_gets_into_the_environment():
    hostile = {"PATH": "/evil", "LD_PRELOAD": "/evil.so", "PYTHONPATH": "/evil", "GITHUB_TOKEN": "stolen"}
    assert set(settings(VARIABLES | hostile, "acme/widget").environment).isdisjoint(hostile)


def test_a_value_that_cannot_be_used_is_named():
    with pytest.raises(ConfigError, match="GCP_REGION is 'Europe'"):
        settings(VARIABLES | {"GCP_REGION": "Europe"}, "acme/widget")


def test_the_task_is_no_variable_because_pull_requests_of_forks_get_none():
    with pytest.raises(TaskInVariable, match='modules = "modules.pets".*gh variable delete MODULES --repo acme/widget'):
        settings({"MODULES": "modules.pets"}, "acme/widget")


def test_a_variable_that_is_nearly_a_setting_is_named():
    with pytest.raises(MisspelledSetting, match="ACCURACY_TRESHOLD .* did you mean ACCURACY_THRESHOLD"):
        settings(VARIABLES | {"ACCURACY_TRESHOLD": "0.97"}, "acme/widget")


def test_variables_are_read_as_github_writes_them():
    assert read(json.dumps({"SEED": "1"})) == {"SEED": "1"} and read("") == {}
    for text in ("{", "[]", "1"):
        with pytest.raises(UsageError, match="toJSON"):
            read(text)
