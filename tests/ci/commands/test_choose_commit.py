"""Which commits a button may run the code of, in a real clone of a real repository."""

import subprocess

import pytest

from tests.ci.conftest import ROOT
from tests.ci.github.test_routing import README, Repository


@pytest.fixture
def repository(tmp_path) -> Repository:
    """A repository whose default branch has two commits, and another branch one more."""
    made = Repository(tmp_path / "origin")
    made.newest = made.commit({README: "2"})
    made.git("switch", "--quiet", "--create", "proposal")
    made.proposed = made.commit({README: "a stranger's"})
    made.git("switch", "--quiet", "main")
    return made


@pytest.fixture
def choose(ci, repository, tmp_path):
    """Runs it in a clone of all branches."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository.root), str(clone)], check=True)

    def run(commit: str, branch: str = "main", **variables):
        arguments = ("--commit", commit, "--branch", branch, "--json")
        return ci("choose-commit", *arguments, cwd=clone, PYTHONPATH=str(ROOT), **variables)

    return run


def test_a_commit_of_the_default_branch_is_chosen(choose, repository, tmp_path):
    done = choose(repository.base, GITHUB_OUTPUT=str(tmp_path / "outputs"))
    assert done.json == {"commit": repository.base}
    assert f"commit={repository.base}\n" in (tmp_path / "outputs").read_text()


def test_without_a_name_it_is_the_newest(choose, repository):
    assert choose("").json == {"commit": repository.newest}


def test_a_commit_of_another_branch_is_refused(choose, repository, tmp_path):
    done = choose(repository.proposed)
    assert done.code == 2 and f"The commit {repository.proposed} is not on main: merge it" in done.err
    subprocess.run(["git", "-C", tmp_path / "clone", "switch", "--quiet", "--detach", "origin/proposal"], check=True)
    done = choose("")
    assert done.code == 2 and "is not on main" in done.err, "the button was pressed on that branch"


@pytest.mark.parametrize("short", ["main", "HEAD~1", "refs/pull/7/head", "--help", "a" * 39, "A" * 40, "a" * 40 + "\n"])
def test_what_is_no_full_name_is_refused(choose, short):
    done = choose(short)
    assert done.code == 2 and "is not the full name of a commit" in done.err


def test_short_names_are_refused_also_where_they_are_of_the_default_branch(choose, repository):
    done = choose(repository.base[:12])
    assert done.code == 2 and "is not the full name of a commit" in done.err


def test_a_commit_that_is_nowhere_is_refused(choose):
    done = choose("0" * 40)
    assert done.code == 2 and f"The commit {'0' * 40} is not on main" in done.err


def test_a_branch_that_was_not_fetched_is_an_error(choose, repository):
    done = choose(repository.base, branch="trunk")
    assert done.code == 2 and "cannot find the branch 'trunk'" in done.err and done.err.count("\n") == 1
