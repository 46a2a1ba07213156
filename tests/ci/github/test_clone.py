"""A clone's commits, what differs between them, and one beside another, on real git repositories."""

import os
import signal
import subprocess
import sys

import pytest

from ci.github import clone
from pipeline.errors import NotARepository, UsageError
from tests.ci.github.test_routing import Repository
from tests.test_repository import ROOT


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "clone")


def test_changes_of_the_working_tree_include_uncommitted_and_untracked_files(repository):
    root = repository.root
    repository.commit({"a.py": "1", "b.py": "1"})
    (root / "b.py").unlink()
    (root / "README.md").write_text("2")
    (root / "new.py").write_text("1")
    (root / ".gitignore").write_text("/workspace*/\n")
    (root / "workspace").mkdir()
    (root / "workspace" / "x").touch()
    assert clone.changed_here(str(root), repository.base) == [".gitignore", "README.md", "a.py", "new.py"]
    assert clone.changed(str(root), repository.base, "HEAD") == ["a.py", "b.py"]


def test_a_commit_has_one_full_name(repository):
    root = str(repository.root)
    assert clone.commit(root, "HEAD") == clone.commit(root, repository.base[:9]) == repository.base
    for none in ("", "--help", "HEAD:README.md", "0" * 40, "a\0b".replace("\0", "\n")):
        assert clone.commit(root, none) is None


def test_a_commit_lies_beside_another_for_a_while(repository, tmp_path):
    hook = repository.root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    repository.commit({"README.md": "2"})
    beside = tmp_path / "beside"
    with pytest.raises(ZeroDivisionError), clone.beside(str(repository.root), repository.base, str(beside)):
        assert (beside / "README.md").read_text() == "1"
        (beside / "README.md").write_text("3")
        (beside / "more").touch()
        raise ZeroDivisionError
    assert not beside.exists() and repository.git("worktree", "list").count("\n") == 0
    assert (repository.root / "README.md").read_text() == "2" and not (tmp_path / "hooked").exists()


def test_what_a_killed_process_left_is_removed_by_the_next(repository, tmp_path):
    beside = tmp_path / "beside"
    killed = (
        "import os, signal; from ci.github import clone\n"
        f"with clone.beside({str(repository.root)!r}, {repository.base!r}, {str(beside)!r}):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for gone in (False, True):
        done = subprocess.run([sys.executable, "-c", killed], cwd=ROOT)
        assert done.returncode == -signal.SIGKILL and beside.exists()
        if gone:
            subprocess.run(["rm", "-r", str(beside)], check=True)
        with clone.beside(str(repository.root), repository.base, str(beside)):
            assert os.listdir(beside)
        assert not beside.exists() and repository.git("worktree", "list").count("\n") == 0


def test_a_commit_that_cannot_be_checked_out_or_compared_is_an_error(repository, tmp_path):
    root = str(repository.root)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").touch()
    with pytest.raises(UsageError, match="cannot check out"), clone.beside(root, repository.base, f"{tmp_path}/there"):
        pass
    assert (tmp_path / "there" / "mine").exists()
    with pytest.raises(UsageError, match="cannot compare"):
        clone.changed_here(root, "f" * 40)
    with pytest.raises(NotARepository):
        clone.changed_here(str(tmp_path / "there"), "HEAD")
