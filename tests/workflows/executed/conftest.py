"""Repositories to which things happen, at a local GitHub and with a local Google Cloud."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import documentation
from tests.emulators.cloud import Cloud
from tests.workflows.repository import Repository

# Few images and a short training: what is shown here is how the workflows work together.
SETTINGS = {"ACCURACY_THRESHOLD": "0.4", "ACCURACY_MARGIN": "0.6", "EVALUATION_THRESHOLD": "100"}


@pytest.fixture(scope="module")
def servers(cloud_servers) -> Iterator[Cloud]:
    """The local servers, as new. It is an error when anybody asked for a host that is not theirs."""
    cloud_servers.reset()
    yield cloud_servers
    assert not cloud_servers.refused, "somebody asked for hosts that are not there"


@pytest.fixture(scope="module")
def configured(servers, tmp_path_factory) -> Repository:
    """A repository for which the pages' commands were typed in, and nothing else."""
    folder = tmp_path_factory.mktemp("configured")
    token = servers.github.token(contents="write")
    project = documentation.make(servers, folder, servers.github.repository, token.encode())
    servers.oauth.key_file(workflows_account(servers))
    return Repository(servers, folder, project.variables | SETTINGS)


@pytest.fixture(scope="module")
def fork(servers, tmp_path_factory) -> Repository:
    """A repository in which nothing was set."""
    return Repository(servers, tmp_path_factory.mktemp("fork"))


def workflows_account(cloud: Cloud) -> str:
    return f"github@{cloud.project}.iam.gserviceaccount.com"


def type_in(repository: Repository, *arguments: str) -> None:
    """A person runs a command of the clone, as the account of the workflows."""
    cloud = repository.cloud
    key = str(cloud.oauth.key_file(workflows_account(cloud)))
    settings = {**cloud.environment, **repository.variables, "GOOGLE_APPLICATION_CREDENTIALS": key}
    command = [sys.executable, "-m", "ci", *arguments]
    subprocess.run(command, cwd=repository.clone.folder, env={**os.environ, **settings}, check=True)


def jobs(cloud: Cloud, pipeline: str = "") -> list[str]:
    """The names of what was submitted to Vertex AI, of one pipeline or of all."""
    found = cloud.vertex.pipelines.jobs.items()
    return [name for name, job in found if pipeline in ("", job.labels["pipeline"])]


def finish(cloud: Cloud) -> dict[str, str]:
    """Waits for all that runs on Vertex AI, also for what that starts; how each ended."""
    ended: dict[str, str] = {}
    while waiting := [name for name in jobs(cloud) if name not in ended]:
        ended |= {name: cloud.vertex.pipelines.wait(name).state.name for name in waiting}
    return ended
