"""The task's package names groups of images, and is imported by name alone."""

import sys

import pytest

from pipeline.data import groups
from pipeline.errors import BrokenModules
from tests.conftest import put


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of one module `groups`; returns its name."""

    def make(text: str) -> str:
        put(tmp_path, {"of_tests/__init__.py": b"", "of_tests/groups.py": text.encode()})
        monkeypatch.syspath_prepend(str(tmp_path))
        for name in ("of_tests", "of_tests.groups"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return "of_tests"

    yield make
    for name in ("of_tests", "of_tests.groups"):
        sys.modules.pop(name, None)


def test_a_group_is_text_and_none_is_none(package):
    group_of = groups.group_of(package("def group_of(name): return int(name[4]) if name[4] != '0' else None"))

    assert [group_of(name) for name in ("cat/0.jpg", "cat/7.jpg")] == ["", "7"]


@pytest.mark.parametrize("name", ["no_such_package", "modules.classification"])
def test_without_a_function_no_image_has_a_group(name):
    assert groups.group_of(name)("cat/1.jpg") == ""


@pytest.mark.parametrize(
    "text, message",
    [("def group_of(name): return name[99]", r"group_of\('cat/1.jpg'\)"), ("x = ", "cannot be imported")],
)
def test_a_function_that_fails_is_named(package, text, message):
    with pytest.raises(BrokenModules, match=message):
        groups.group_of(package(text))("cat/1.jpg")
