"""Tasks that are copied, rightly and wrongly, and mistakes in their code, as a training meets them."""

import os
import pathlib
import shutil

import pytest

from tests.ci.conftest import ROOT


@pytest.fixture
def repository(tmp_path) -> pathlib.Path:
    """This repository's code with modules/ and tests/ that may be changed."""
    root = tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("modules", "tests/modules"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for name in ("ci", "pipeline", "pyproject.toml", "requirements.txt", "cloudbuild"):
        (root / name).symlink_to(ROOT / name)
    return root


@pytest.fixture
def spans(tmp_path, trained_workspace) -> str:
    """A workspace with a span."""
    shutil.copytree(trained_workspace / "spans", tmp_path / "workspace" / "spans")
    return str(tmp_path / "workspace")


def test_a_new_task_imports_itself_alone_and_brings_its_tests(ci, repository):
    done = ci("new-task", "pets", "--json", cwd=repository)

    assert done.code == 0 and done.json["package"] == "modules.pets"
    assert "MODULES=modules.pets python -m ci train" in done.err
    for folder in ("modules", "tests/modules"):
        original = {path.name for path in (repository / folder / "classification").glob("*.py")}
        copies = list((repository / folder / "pets").glob("*.py"))
        assert {path.name for path in copies} == original
        texts = [path.read_text() for path in copies]
        assert not [text for text in texts if "modules.classification" in text or "modules/classification" in text]
        assert "modules.pets" in "".join(texts)
    # what Google Cloud would run: nothing of the original is in it
    copied = ci("copy-modules", "--json", cwd=repository, MODULES="modules.pets")
    assert copied.code == 0, copied.err


@pytest.mark.parametrize("name", ["classification", "Pets", "../pets", "pets.cats", "1pet", ""])
def test_a_name_that_cannot_be_is_refused(ci, repository, name):
    done = ci("new-task", name, cwd=repository)

    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1
    assert sorted(os.listdir(repository / "modules")) == ["__init__.py", "classification"]


@pytest.mark.parametrize("command", [["train"], ["copy-modules"]])
def test_a_copy_that_still_imports_the_original_is_refused_before_anything_runs(ci, repository, spans, command):
    shutil.copytree(repository / "modules" / "classification", repository / "modules" / "pets")

    done = ci(*command, cwd=repository, WORKSPACE=spans, MODULES="modules.pets")

    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1
    assert "modules/pets/backbones.py line " in done.err and "imports modules.classification." in done.err
    assert "new-task" in done.err
    assert not os.path.exists(os.path.join(spans, "logs")) and not os.path.exists(os.path.join(spans, "modules"))


@pytest.mark.parametrize(
    "file, text, by, said",
    [
        ("settings.py", "@dataclasses", "def (\n@dataclasses", "modules/classification/settings.py line "),
        ("model.py", "import keras_tuner", "import torch_of_a_test", "the package torch_of_a_test is not installed"),
    ],
)
def test_what_shows_without_running_it_is_named_at_once(ci, repository, spans, file, text, by, said):
    change(repository, file, text, by)

    done = ci("train", cwd=repository, WORKSPACE=spans)

    assert done.code == 1 and said in done.err and done.err.count("\n") == 1


def test_what_shows_when_it_is_tried_is_named_before_the_first_node(ci, repository, spans):
    change(repository, "settings.py", '"small_cnn"', '"resnet_50"')

    done = ci("train", cwd=repository, WORKSPACE=spans)

    assert done.code == 1 and "SpanExampleGen" not in done.err
    said = done.err.splitlines()[-1]
    assert "modules/classification/model.py line " in said and "'resnet_50' is not one" in said, done.err


def change(repository: pathlib.Path, file: str, text: str, by: str) -> None:
    path = repository / "modules" / "classification" / file
    before = path.read_text()
    assert text in before
    path.write_text(before.replace(text, by))
