"""Which branches' pushes start workflows, in this repository's files and in others."""

import pathlib

import pytest
import yaml

from ci.github.triggers import mismatch, push_branches

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_what_is_read_from_the_workflows_is_what_yaml_says():
    said = {}
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        push = yaml.safe_load(path.read_text())[True].get("push")  # YAML takes `on` for a boolean
        if push and "branches" in push:
            said[path.name] = tuple(push["branches"])
    assert said and push_branches(str(ROOT)) == said


@pytest.fixture
def repository(tmp_path) -> pathlib.Path:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    return tmp_path


def write(repository: pathlib.Path, name: str, text: str) -> None:
    (repository / ".github" / "workflows" / name).write_text(text)


def test_workflows_that_wait_for_another_branch_are_named_with_what_to_write(repository):
    write(repository, "a.yml", "on:\n  push:\n    paths: [x]\n    branches: [trunk, 'release/*'] # these\njobs: {}\n")
    write(repository, "b.yml", "on:\n  pull_request:\n    branches: [x]\n  push:\n    branches: [main]\n")
    write(repository, "c.yml", "on:\n  push:\n  pull_request:\n    branches: [main]\n")

    assert push_branches(str(repository)) == {"a.yml": ("trunk", "release/*"), "b.yml": ("main",)}
    wrong = mismatch("trunk", str(repository))
    assert ".github/workflows/b.yml (main)" in wrong and "`branches: [trunk]`" in wrong and "a.yml" not in wrong
    assert mismatch("main", str(repository)) and not mismatch("main", str(repository / "nothing"))
