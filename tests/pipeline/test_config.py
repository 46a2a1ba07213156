"""Settings are read from the environment once, and a bad one names itself."""

import dataclasses

import pytest

from pipeline.config import Config
from pipeline.errors import ConfigError, SpanNotFound, numbers


def test_without_any_variable_everything_lies_in_the_workspace_here():
    config = Config.from_environment({})

    assert config.workspace == "./workspace"
    assert config.releases == "./workspace/releases"
    assert (config.accuracy_threshold, config.accuracy_margin) == (0.8, 0.02)
    assert (config.modules, config.seed, config.tune) == ("modules.classification", 0, False)


def test_releases_follow_the_workspace_unless_they_are_named():
    assert Config.from_environment({"WORKSPACE": "/data"}).releases == "/data/releases"
    assert Config.from_environment({"WORKSPACE": "/data", "RELEASES": "/models"}).releases == "/models"


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
        ("WORKSPACE", "gs://bucket/prefix", "a folder"),
        ("RELEASES", "github:owner/name", "a folder"),
    ],
)
def test_a_bad_value_is_refused_by_variable_value_and_what_is_expected(variable, value, expected):
    with pytest.raises(ConfigError) as error:
        Config.from_environment({variable: value})

    assert variable in str(error.value) and value in str(error.value) and expected in str(error.value)
    assert error.value.exit_code == 2


def test_every_setting_says_its_value_origin_and_meaning():
    environ = {"WORKSPACE": "/data", "TUNE": "yes"}
    settings = {setting.variable: setting for setting in Config.from_environment(environ).settings(environ)}

    assert len(settings) == len(dataclasses.fields(Config))
    assert settings["WORKSPACE"][1:3] == ("/data", "environment")
    assert settings["RELEASES"][1:3] == ("/data/releases", "default")
    assert settings["TUNE"][1:3] == ("true", "environment")
    assert all(setting.meaning for setting in settings.values())


def test_many_numbers_are_told_in_short():
    assert numbers([3, 1, 2, 11, 2]) == "1-3, 11"
    assert "Span 7-8 does not exist, the workspace has 1-3" in str(SpanNotFound([8, 7], [1, 2, 3]))
    assert "has none yet" in str(SpanNotFound([7], []))
