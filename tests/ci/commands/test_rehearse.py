"""Rehearsals: one of them is real, with a base whose code trains, and a change that spoils the model."""

import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pytest

from ci.commands.rehearse import differing
from ci.github.baseline import NoBaseline
from ci.github.routing import FULL, MODULES
from pipeline.reporting.run_report import RunReport
from tests.ci.conftest import ROOT, environment
from tests.ci.github.test_routing import MODEL, PIPELINE, README, Repository
from tests.documentation import commands, paste

HIDDEN = (
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "GITHUB_ENV",
    "GITHUB_PATH",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "ANY_OTHER",
)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The repository that commands find where they are."""
    repository = Repository(tmp_path / "clone")
    monkeypatch.chdir(repository.root)
    return repository


@pytest.mark.parametrize("file, branch", [(MODEL, MODULES), (PIPELINE, FULL), ("modules/new.py", MODULES)])
def test_what_is_not_committed_yet_differs_from_the_base_too(repository, file, branch):
    (repository.root / file).write_text("2")
    commit, push = differing(repository.base[:12])
    assert commit == repository.base and push.branch == branch and file in push.why


def test_a_base_without_a_model_is_reported_with_the_reason(repository, tmp_path, monkeypatch):
    def why(base: str) -> str:
        with pytest.raises(NoBaseline) as error:
            differing(base)
        return str(error.value)

    assert why("") == why("0" * 40) == "no base was named"
    assert why("f" * 40) == f"the base {'f' * 40} is not in this clone"
    assert why(repository.base) == f"nothing differs from the base {repository.base[:7]}"
    repository.commit({README: "2"})
    assert why(repository.base) == f"only documentation differs from the base {repository.base[:7]}"
    monkeypatch.chdir(tmp_path)
    assert "is no clone" in why(repository.base)


def test_a_folder_that_no_rehearsal_made_stays(ci, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.jpg").write_bytes(b"mine")
    done = ci("rehearse", "--folder", tmp_path / "mine")
    assert done.code == 2 and "was not made by a rehearsal" in done.err and "--folder" in done.err
    assert (tmp_path / "mine" / "1.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("limit", ["0", "99", "1001", "all"])
def test_more_images_than_there_are_or_too_few_are_refused(ci, limit):
    done = ci("rehearse", "--limit", limit)
    assert done.code == 2 and "--limit" in done.err


@pytest.mark.timeout(600)
def test_a_change_that_spoils_the_model_is_compared_with_its_base(tmp_path):
    clone = Repository(tmp_path / "clone")
    for folder in ("ci", "pipeline", "modules"):
        shutil.rmtree(clone.root / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, clone.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, clone.root)
    base = clone.commit()
    (clone.root / ".venv").symlink_to(ROOT / ".venv")
    (script,) = commands("docs/own-model.md#change-a-setting")
    settings = {"WORKSPACE": "gs://never/asked", "GITHUB_TOKEN": "secret", "HOME": str(tmp_path)}
    settings["GITHUB_STEP_SUMMARY"] = f"{tmp_path}/summary"

    printed = paste(f"{script.strip()} --output out/report.json --json", clone.root, **settings)

    head = clone.git("rev-parse", "HEAD")
    fields = json.loads(printed.splitlines()[-1])
    assert fields["blessed"] is False and fields["release"] is None
    assert fields["base"]["commit"] == base and fields["accuracy"] < fields["base"]["accuracy"] > 0.8
    assert any(", the base " in reason for reason in fields["reasons"])

    assert fields["report"] == str(clone.root / "out" / "report.json")
    report = RunReport.from_json(pathlib.Path(fields["report"]).read_text())
    assert report.commit == head and report.current.commit == base and report.branch == MODULES
    assert report.modules_digest != report.current.modules_digest
    assert report.metrics.accuracy == fields["accuracy"] and set(report.metrics.per_label) == set("0123456789")
    assert {of.node for of in report.durations} >= {"CurrentModel", "Trainer", "Evaluator"}

    assert fields["archive"].startswith(str(clone.root / "workspace-rehearsal"))
    with tarfile.open(fields["archive"]) as archive:
        assert "saved_model.pb" in archive.getnames()
    kept = clone.root / "workspace-rehearsal" / "baseline"
    assert list((kept / base).glob("*/model-1/model.json"))
    assert list((kept / head).glob("*/model-*/model.json")), "it will be the base of others"
    summary = (tmp_path / "summary").read_text()
    assert "### Rehearsal: not good enough to be released" in summary and "```mermaid" in summary
    assert clone.git("status", "--porcelain") == "?? out/" and clone.git("worktree", "list").count("\n") == 0


@pytest.mark.timeout(600)
def test_a_training_that_fails_is_an_error_and_its_code_sees_no_credentials(tmp_path):
    hidden = dict.fromkeys(HIDDEN, "a secret") | {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    process = subprocess.run(
        [sys.executable, "-m", "ci", "rehearse", "--limit", "100", "--folder", str(tmp_path / "rehearsal"), "--json"],
        cwd=ROOT,
        env=environment(MODULES="tests.pipeline.broken", **hidden),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert process.returncode == 1 and process.stdout == ""
    assert "Transform failed: " in process.stderr.splitlines()[-1] and "broken on purpose" in process.stderr
    seen = process.stderr.splitlines()[-1].partition("broken on purpose, among")[2].strip(" ][").split()
    assert "PATH" in seen and not set(hidden) & set(seen)
    assert "rehearse failed" in (tmp_path / "summary").read_text(), "the command itself still has its files"
