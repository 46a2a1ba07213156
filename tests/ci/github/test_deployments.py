"""The last deployed commit, read from the local GitHub."""

import pytest

from ci.github.deployments import ENVIRONMENT, last_deployed
from pipeline.errors import GitHubRefused
from pipeline.github import client

A, B, C = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def repository(cloud_environment):
    github = cloud_environment.github
    return client.repository(github.repository, github.token(deployments="read"))


@pytest.fixture
def deployments(cloud):
    return cloud.github.deployments


def test_before_the_first_there_is_none(repository):
    assert last_deployed(repository) is None


def test_the_newest_that_succeeded_counts(repository, deployments):
    deployments.add(ENVIRONMENT, A, "in_progress", "success", "inactive")
    deployments.add(ENVIRONMENT, B, "in_progress", "success", "inactive")
    deployments.add(ENVIRONMENT, C, "in_progress", "failure")
    deployments.add("endpoint", C, "success")
    assert last_deployed(repository) == B


def test_what_waits_or_runs_is_not_deployed(repository, deployments):
    deployments.add(ENVIRONMENT, A, "queued")
    deployments.add(ENVIRONMENT, B)
    assert last_deployed(repository) is None


def test_a_token_without_permission_is_reported(cloud_environment):
    github = cloud_environment.github
    blind = client.repository(github.repository, github.token(contents="read"))
    with pytest.raises(GitHubRefused, match="last deployment"):
        last_deployed(blind)
