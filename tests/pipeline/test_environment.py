"""Which variables programs get that run the code or the data of others."""

import dataclasses

from pipeline import environment
from pipeline.config import Config


def test_only_variables_of_the_list_are_passed_on_and_none_is_made_up():
    assert environment.allowed({"PATH": "/bin", "SECRET": "s", "GITHUB_TOKEN": "t"}) == {"PATH": "/bin"}
    assert environment.allowed({"https_proxy": "http://user:password@proxy"}) == {}


def test_no_setting_and_nothing_that_names_credentials_is_in_a_list():
    settings = {field.metadata["variable"] for field in dataclasses.fields(Config)}
    assert not settings & environment.TRAINING
    words = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY", "GITHUB", "ACTIONS", "GOOGLE", "RUNNER", "AWS")
    assert not [name for name in environment.TRAINING for word in words if word in name]
