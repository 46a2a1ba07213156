"""Which branch a push takes, on real git repositories."""

import os
import pathlib
import subprocess

import pytest

from ci.github.routing import FULL, MODULES, NONE, route
from pipeline.errors import NotARepository, UsageError

MODEL, PIPELINE, README = "modules/classification/model.py", "pipeline/training.py", "README.md"


class Repository:
    """A clone with a first commit; `base` is where a push begins."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.base = self.commit({MODEL: "1", PIPELINE: "1", README: "1", "docs/a.png": "1"})

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.root), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: dict[str | bytes, str] | None = None, remove: str = "", move: tuple[str, str] = ()) -> str:
        for name, text in (files or {}).items():
            path = os.path.join(os.fsencode(self.root), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            pathlib.Path(os.fsdecode(path)).write_text(text)
        if remove:
            self.git("rm", "--quiet", "-r", remove)
        if move:
            (self.root / move[1]).parent.mkdir(parents=True, exist_ok=True)
            self.git("mv", *move)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=A change")
        return self.git("rev-parse", "HEAD")

    def branch(self, head: str = "HEAD", base: str | None = None) -> str:
        return route(self.base if base is None else base, head, str(self.root)).branch


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "clone")


@pytest.mark.parametrize(
    "branch, files",
    [
        (MODULES, [MODEL]),
        (MODULES, ["modules/pets/model.py", MODEL]),
        (MODULES, [MODEL, "modules/README.md"]),
        (MODULES, ["modules/a b\nc.py"]),
        (MODULES, [b"modules/\xff.py"]),
        (FULL, [PIPELINE]),
        (FULL, [MODEL, PIPELINE]),
        (MODULES, [MODEL, README, "LICENSE", "docs/a.png"]),
        (FULL, [MODEL, README, PIPELINE]),
        (FULL, [README, PIPELINE]),
        (FULL, ["modules_evil/model.py"]),
        (FULL, ["modules"]),
        (FULL, ["pipeline/modules/x.py"]),
        (FULL, ["--output=x"]),
        (FULL, ["docs"]),
        (FULL, ["LICENSES/other.txt"]),
        (FULL, ["tests/README.md", ".github/workflows/cd.yml"]),
        (NONE, [README]),
        (NONE, ["pipeline/notes.md", "docs/deep/er.svg", "LICENSE"]),
        (NONE, ["modules/README.md", "modules/classification/docs/layers.svg", "pipeline/LICENSE"]),
        (NONE, ["a\nmodules/model.py.md"]),
    ],
)
def test_a_branch_follows_from_the_files_that_changed(repository, branch, files):
    if files == ["modules"] or files == ["docs"]:
        repository.git("rm", "--quiet", "-r", files[0])
    repository.commit(dict.fromkeys(files, "2"))
    assert repository.branch() == branch


@pytest.mark.parametrize(
    "branch, removed", [(MODULES, MODEL), (MODULES, "modules"), (FULL, PIPELINE), (NONE, README), (NONE, "docs")]
)
def test_what_was_deleted_counts_too(repository, branch, removed):
    repository.commit(remove=removed)
    assert repository.branch() == branch


@pytest.mark.parametrize(
    "branch, move",
    [
        (MODULES, (MODEL, "modules/pets/model.py")),
        (FULL, (MODEL, "pipeline/model.py")),
        (FULL, (PIPELINE, "modules/training.py")),
        (FULL, (PIPELINE, "docs/training.py")),
    ],
)
def test_a_rename_across_the_border_takes_the_full_branch(repository, branch, move):
    repository.commit(move=move)
    assert repository.branch() == branch


def test_all_commits_of_a_push_count(repository):
    repository.commit({PIPELINE: "2"})
    repository.commit({MODEL: "2"})
    assert repository.branch() == FULL
    assert repository.branch(base="HEAD~1") == MODULES


def test_a_change_that_was_taken_back_is_none(repository):
    repository.commit({PIPELINE: "2", MODEL: "2"})
    repository.commit({PIPELINE: "1"})
    assert repository.branch() == MODULES


def test_a_merge_counts_with_all_that_it_brings(repository):
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit({PIPELINE: "2"})
    repository.git("checkout", "--quiet", "main")
    before = repository.commit({MODEL: "2"})
    repository.git("merge", "--quiet", "--no-edit", "other")
    assert repository.branch(base=before) == FULL

    repository.git("checkout", "--quiet", "-b", "third", before)
    repository.commit({MODEL: "3"})
    repository.git("checkout", "--quiet", "main")
    before = repository.git("rev-parse", "HEAD")
    repository.git("merge", "--quiet", "--no-edit", "third")
    assert repository.branch(base=before) == MODULES


def test_a_forced_push_is_compared_with_what_was_there(repository):
    pushed = repository.commit({PIPELINE: "2"})
    repository.git("reset", "--quiet", "--hard", repository.base)
    repository.commit({MODEL: "2"})
    assert repository.branch(base=pushed) == FULL, "the change of the pipeline was taken back"
    assert repository.branch(base="a" * 40) == FULL, "what was there is in no clone any more"


@pytest.mark.parametrize("base", ["", "0" * 40, "b" * 40, "--help", "HEAD:README.md", "no\nsuch"])
def test_without_a_commit_to_compare_with_nothing_is_left_out(repository, base):
    repository.commit({MODEL: "2"})
    assert repository.branch(base=base) == FULL


def test_no_difference_does_all_again(repository):
    assert repository.branch() == FULL
    repository.commit()
    assert repository.branch() == FULL


def test_the_reason_names_what_decided(repository):
    repository.commit({MODEL: "2", PIPELINE: "2", "ci/x.py": "2"})
    assert route(repository.base, "HEAD", str(repository.root)).why == "not only modules changed: ci/x.py and 1 more"


def test_a_head_that_is_not_there_is_an_error(repository, tmp_path):
    with pytest.raises(UsageError, match="no commit 'nothing' in this clone"):
        route(repository.base, "nothing", str(repository.root))
    with pytest.raises(NotARepository):
        route("HEAD~1", "HEAD", str(tmp_path))
