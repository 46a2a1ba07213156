"""Settings are read from the environment once, and a bad one names itself."""

import dataclasses
import re

import pytest

from pipeline.config import Config, Machine
from pipeline.errors import ConfigError, MissingSettings, MisspelledSetting, SpanNotFound, numbers


def test_without_any_variable_everything_lies_in_the_workspace_here():
    config = Config.from_environment({})

    assert config.workspace == "./workspace"
    assert config.releases == "./workspace/releases"
    assert (config.accuracy_threshold, config.accuracy_margin) == (0.8, 0.02)
    assert (config.modules, config.seed, config.tune) == ("modules.classification", 0, False)


def test_releases_follow_the_workspace_unless_they_are_named():
    assert Config.from_environment({"WORKSPACE": "/data"}).releases == "/data/releases"
    assert Config.from_environment({"WORKSPACE": "/data", "RELEASES": "/models"}).releases == "/models"


def test_what_escalation_may_lose_follows_the_margin_unless_it_is_named():
    assert Config.from_environment({"ACCURACY_MARGIN": "0.05"}).escalation_loss == 0.05
    assert Config.from_environment({"ACCURACY_MARGIN": "0.05", "ESCALATION_LOSS": "0"}).escalation_loss == 0.0


def test_an_empty_variable_is_as_good_as_none():
    assert Config.from_environment({"ACCURACY_THRESHOLD": "", "TUNE": ""}) == Config()


@pytest.mark.parametrize(
    "variable, value, expected",
    [
        ("ACCURACY_THRESHOLD", "80", "from 0 to 1"),
        ("ACCURACY_THRESHOLD", "high", "from 0 to 1"),
        ("ACCURACY_MARGIN", "nan", "from 0 to 1"),
        ("ACCURACY_MARGIN", "-0.1", "from 0 to 1"),
        ("SEED", "-1", "whole number"),
        ("SEED", "4294967296", "whole number"),
        ("TUNE", "maybe", "true or false"),
        ("MODULES", "modules/classification", "dotted name"),
        ("MODULES", "modules.class", "dotted name"),
        ("WORKSPACE", "s3://bucket/prefix", "a folder, or gs://"),
        ("WORKSPACE", "gs://bucket/../other", "gs://bucket/prefix"),
        ("WORKSPACE", "gs://Bucket", "gs://bucket/prefix"),
        ("GCP_PROJECT", "My Project", "a project's ID"),
        ("GCP_REGION", "Europe", "a region"),
        ("PIPELINE_IMAGE", "europe-docker.pkg.dev/p/r/spanloop:latest", "by digest"),
        ("TRAINING_MACHINES", "n1-standard-4:NVIDIA_TESLA_T4", "machine types"),
        ("CANARY_TRAFFIC", "101", "from 0 to 100"),
        ("SERVING_REPLICAS", "3:1", "a range such as 1:3"),
        ("SERVING_REPLICAS", "0", "a range such as 1:3"),
        ("ENCRYPTION_KEY", "my-key", "cryptoKeys"),
        ("RELEASES", "github:owner", "github:owner/name"),
        ("RELEASES", "github:owner/../name", "github:owner/name"),
        ("RELEASES", "s3://bucket", "or github:owner/name"),
        ("WORKSPACE", "github:owner/name", "a folder"),
        ("DEVICE_CHANNEL", "https://example.com", "or github:owner/name"),
        ("DEVICE_SIGNING_KEY", "projects/p/locations/l/keyRings/r/cryptoKeys/k", "cryptoKeyVersions/NUMBER"),
        ("DEVICE_MIN_APP_VERSION", "2.x", "a version such as 2.1.0"),
        ("DEVICE_VALID_DAYS", "1", "from 2 to 3650"),
    ],
)
def test_a_bad_value_is_refused_by_variable_value_and_what_is_expected(variable, value, expected):
    with pytest.raises(ConfigError) as error:
        Config.from_environment({variable: value})

    assert (error.value.variable, error.value.value) == (variable, value) and expected in error.value.expected
    assert variable in str(error.value) and value in str(error.value) and expected in str(error.value)
    assert error.value.exit_code == 2


def test_a_key_in_place_of_its_file_is_refused_without_being_shown():
    with pytest.raises(ConfigError, match="not the key itself") as error:
        Config.from_environment({"DEVICE_SIGNING_KEY": "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----"})
    assert "MC4C" not in str(error.value) and error.value.value == "(hidden)"


@pytest.mark.parametrize("workspace", ["/data/loop[1]", "/data/*/loop", "loop?"])
def test_a_workspace_whose_path_is_a_pattern_is_refused_by_name(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"WORKSPACE is '.*{re.escape(workspace)}'.* in its path"):
        Config.from_environment({"WORKSPACE": workspace})


def test_the_default_workspace_in_a_folder_whose_name_is_a_pattern_is_refused_too(tmp_path, monkeypatch):
    (tmp_path / "work [2]").mkdir()
    monkeypatch.chdir(tmp_path / "work [2]")
    with pytest.raises(ConfigError, match="work .2./workspace"):
        Config.from_environment({})


def test_a_bucket_is_a_workspace_whose_releases_lie_in_it():
    config = Config.from_environment({"WORKSPACE": "gs://bucket/some/prefix/"})

    assert (config.workspace, config.releases) == ("gs://bucket/some/prefix", "gs://bucket/some/prefix/releases")
    assert config.in_cloud and not Config().in_cloud


def test_releases_may_be_those_of_a_github_repository():
    config = Config.from_environment({"WORKSPACE": "gs://bucket", "RELEASES": "github:some-one/a_widget.py"})
    assert config.releases == "github:some-one/a_widget.py"
    for wrong in (
        "github:widget",
        "github:a/..",
        "github:a/b/c",
        "github:a/b c",
        "github:/b",
        "https://github.com/a/b",
    ):
        with pytest.raises(ConfigError, match="RELEASES.*github:owner/name"):
            Config.from_environment({"RELEASES": wrong})
    with pytest.raises(ConfigError, match="WORKSPACE.*a folder, or gs://bucket/prefix"):
        Config.from_environment({"WORKSPACE": "github:some-one/widget"})


def test_machines_are_read_in_their_order():
    config = Config.from_environment({"TRAINING_MACHINES": "n1-standard-8:NVIDIA_TESLA_T4:2, n1-standard-8"})

    assert config.machines == [("n1-standard-8", "NVIDIA_TESLA_T4", 2), ("n1-standard-8", "", 0)]


def test_an_accelerator_for_either_model_needs_cuda_in_the_image():
    assert not Config.from_environment({"DEVICE_TRAINING_MACHINES": "n1-standard-8"}).accelerated
    assert Config.from_environment({"DEVICE_TRAINING_MACHINES": "n1-standard-8:NVIDIA_TESLA_T4:1"}).accelerated


def test_a_device_model_needs_the_accuracy_of_the_other_one_unless_it_is_set():
    read = Config.from_environment
    assert read({"ACCURACY_THRESHOLD": "0.9"}).device_accuracy_threshold == 0.9
    assert read({"ACCURACY_THRESHOLD": "0.9", "DEVICE_ACCURACY_THRESHOLD": "0"}).device_accuracy_threshold == 0


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "1e9", "ten", "1."])
def test_a_limit_is_a_number(wrong):
    assert Config.from_environment({"DEVICE_MEGABYTES": "0.5"}).device_megabytes == 0.5
    with pytest.raises(ConfigError, match="DEVICE_MEGABYTES.*a number such as 20 or 0.5"):
        Config.from_environment({"DEVICE_MEGABYTES": wrong})


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(MissingSettings) as error:
        Config.from_environment({"GCP_REGION": "europe-west1"}).require("workspace", "project", "region", "image")

    assert set(error.value.missing) == {"WORKSPACE", "GCP_PROJECT", "PIPELINE_IMAGE"}
    assert all(name in str(error.value) for name in error.value.missing)
    assert "GCP_REGION" not in str(error.value) and error.value.exit_code == 2


def test_a_secret_is_in_no_text_that_a_configuration_becomes():
    config = Config.from_environment({"GITHUB_TOKEN": "ghs_secret"})

    assert config.github_token == "ghs_secret"
    assert "ghs_secret" not in repr(config) + config.to_json() + str(list(config.settings({})))


@pytest.mark.parametrize(
    "text, expected",
    [
        ('[tool.spanloop]\nmodules = "modules.pets"\n', "modules.pets"),
        ("[tool.other]\n", "the dotted name of a package"),
        ("[tool.spanloop]\nmodules = 7\n", "the dotted name of a package"),
        ('[tool.spanloop]\nmodules = "../pets"\n', "'../pets', but has to be the dotted name of a package"),
        ("[tool.spanloop\n", "a file of TOML"),
        (None, ""),
    ],
)
def test_the_task_of_the_repository_is_that_of_its_pyproject_unless_the_environment_names_one(
    text, expected, tmp_path, monkeypatch
):
    project = tmp_path / "pyproject.toml"
    monkeypatch.setattr("pipeline.config.PROJECT", project)
    if text is not None:
        project.write_text(text)
    if " " in expected:
        with pytest.raises(ConfigError, match=expected):
            Config.from_environment({})
    else:
        config = Config.from_environment({})
        assert config.modules == expected
        assert {"pyproject.toml"} == {s.origin for s in config.settings({}) if s.variable == "MODULES"}
    assert Config.from_environment({"MODULES": "modules.cats"}).modules == "modules.cats"


def test_every_setting_says_its_value_origin_and_meaning():
    environ = {"WORKSPACE": "/data", "TUNE": "yes"}
    settings = {setting.variable: setting for setting in Config.from_environment(environ).settings(environ)}

    assert len(settings) == len(dataclasses.fields(Config))
    assert settings["WORKSPACE"][1:3] == ("/data", "environment")
    assert settings["RELEASES"][1:3] == ("/data/releases", "default")
    assert settings["TUNE"][1:3] == ("true", "environment")
    assert all(setting.meaning and setting.group for setting in settings.values())


@pytest.mark.parametrize(
    "written, meant",
    [
        ("ACCURACY_TRESHOLD", "ACCURACY_THRESHOLD"),
        ("ACURACY_TRESHOLD", "ACCURACY_THRESHOLD"),
        ("ACCURACY_THERSHOLD", "ACCURACY_THRESHOLD"),
        ("accuracy_threshold", "ACCURACY_THRESHOLD"),
        ("ACCURACY_MARGINS", "ACCURACY_MARGIN"),
        ("GCP_PROJET", "GCP_PROJECT"),
        ("WORKSAPCE", "WORKSPACE"),
        ("MODUELS", "MODULES"),
        ("TRAINING_MACHINE", "TRAINING_MACHINES"),
    ],
)
def test_a_name_that_is_nearly_a_settings_is_refused_with_the_one_that_was_meant(written, meant):
    with pytest.raises(MisspelledSetting) as error:
        Config.from_environment({written: "1"})

    assert (error.value.variable, error.value.meant) == (written, meant)
    assert error.value.exit_code == 2


# what GitHub, Google's, CUDA's and HPC systems' tools set, and words that are no misspelling
FOREIGN = """
    GCP_PROJECT_ID GOOGLE_CLOUD_PROJECT GCLOUD_PROJECT CLOUDSDK_CORE_PROJECT AWS_REGION GH_TOKEN GITHUB_ACTOR GITHUB_ENV
    GITHUB_ACTIONS GITHUB_OUTPUT GITHUB_WORKSPACE GITHUB_REF_NAME RUNNER_WORKSPACE MODULESHOME MODULEPATH LOADEDMODULES
    CACHE_DIR TUNED SEEDS IMAGE_NAME ENCRYPTION WORKSPACE_DIR EVALUATION_THRESHOLD WORKFLOW_SERVICE_ACCOUNT workspace
    releases modules WORKSPACES RELEASE MODULE GCE_PROJECT
"""


def test_variables_of_other_programs_are_left_alone():
    assert Config.from_environment(dict.fromkeys(FOREIGN.split(), "1")) == Config()


def test_a_misspelling_does_no_harm_where_the_setting_is_set_or_it_is_empty():
    assert Config.from_environment({"ACCURACY_TRESHOLD": "0.9", "ACCURACY_THRESHOLD": "0.7"}).accuracy_threshold == 0.7
    assert Config.from_environment({"ACCURACY_TRESHOLD": ""}) == Config()


def test_many_numbers_are_written_in_short():
    assert numbers([3, 1, 2, 11, 2]) == "1-3, 11"
    assert "Span 7-8 does not exist, the workspace has 1-3" in str(SpanNotFound([8, 7], [1, 2, 3]))
    assert "has none yet" in str(SpanNotFound([7], []))


def test_a_machine_that_serves_may_have_an_accelerator():
    assert Config().server == Machine("n1-standard-2")
    assert Config(serving_machine="g2-standard-8:NVIDIA_L4:1").server == Machine("g2-standard-8", "NVIDIA_L4", 1)
