"""The router's command, on real repositories and the local GitHub."""

import subprocess

import pytest

from tests.ci.conftest import ROOT, environment
from tests.ci.github.test_routing import MODEL, PIPELINE, Repository


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path / "clone")


@pytest.fixture
def route(ci, repository, cloud):
    """Runs it in the repository's folder, against the local GitHub."""

    def run(*arguments, **variables):
        return ci("route", *arguments, "--json", cwd=repository.root, PYTHONPATH=str(ROOT), **variables)

    return run


@pytest.fixture
def github(cloud):
    """The environment of a router's job."""
    token = cloud.github.token(contents="read", deployments="read")
    return {**cloud.environment, "GITHUB_REPOSITORY": cloud.github.repository, "GITHUB_TOKEN": token}


def test_two_commits_are_compared(route, repository):
    repository.commit({MODEL: "2"})
    done = route("--base", repository.base, "--head", "HEAD")
    assert done.code == 0 and done.json["branch"] == "modules-only"
    assert done.json["why"] == f"all code that changed is below modules/: {MODEL}" and done.json["why"] in done.err


def test_a_push_is_compared_with_what_was_deployed_so_that_a_run_that_was_replaced_loses_nothing(
    route, repository, cloud, github
):
    repository.commit({PIPELINE: "2"})  # its run was replaced by the next one's
    repository.commit({MODEL: "2"})
    cloud.github.deployments.add("vertex-ai", repository.base, "success")
    done = route("--deployed", "--head", "HEAD", **github)
    assert done.json["branch"] == "full-codebase" and done.json["base"] == repository.base

    cloud.github.deployments.add("vertex-ai", repository.git("rev-parse", "HEAD~1"), "success")
    assert route("--deployed", "--head", "HEAD", **github).json["branch"] == "modules-only"


def test_the_first_push_takes_the_full_branch(route, repository, github):
    done = route("--deployed", "--head", "HEAD", **github)
    assert done.json["branch"] == "full-codebase" and done.json["base"] == ""


def test_what_cannot_be_asked_is_an_error(route, github):
    done = route("--deployed", "--head", "HEAD", **github | {"GITHUB_TOKEN": "wrong"})
    assert done.code == 1 and done.err.count("\n") == 1 and "last deployment" in done.err
    assert route("--deployed", "--head", "HEAD", **github | {"GITHUB_REPOSITORY": ""}).code == 2


def test_usage_is_explained(route, repository):
    assert route("--head", "HEAD").code == 2
    assert route("--base", "HEAD", "--deployed", "--head", "HEAD").code == 2
    done = route("--base", repository.base, "--head", "nothing")
    assert done.code == 2 and "There is no commit 'nothing'" in done.err


def test_it_needs_nothing_but_the_light_environment(repository):
    """PyGithub is not imported where GitHub is not asked."""
    program = "import sys; from ci.__main__ import main; main(sys.argv[1:]); print('github' in sys.modules)"
    done = subprocess.run(
        ["python3", "-c", program, "route", "--base", "HEAD", "--head", "HEAD"],
        executable=__import__("sys").executable,
        cwd=repository.root,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
