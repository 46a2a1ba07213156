"""Repositories on the local GitHub with the local Google Cloud."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import documentation
from tests.emulators.cloud import Cloud
from tests.workflows.repository import Repository

# Few images and a short training: these tests are about the interaction of workflows.
# few images and a short training: the tests are about the workflows, not accuracy
SETTINGS = {
    "ACCURACY_THRESHOLD": "0.4",
    "ACCURACY_MARGIN": "0.6",
    "LABEL_FLOOR": "0",
    "EVALUATION_THRESHOLD": "100",
}


@pytest.fixture(scope="module")
def servers(cloud_servers) -> Iterator[Cloud]:
    """The local servers after a reset. Tests fail when a client tries to reach any other host."""
    cloud_servers.reset()
    yield cloud_servers
    assert not cloud_servers.refused, "clients tried to reach hosts that no local server has"


@pytest.fixture(scope="module")
def configured(servers, tmp_path_factory) -> Repository:
    """A repository for which the pages' commands were typed in, and nothing else."""
    folder = tmp_path_factory.mktemp("configured")
    token = servers.github.token(contents="write")
    project = documentation.make(servers, folder, token.encode())
    servers.oauth.key_file(workflows_account(servers))
    return Repository(servers, folder, project.variables | SETTINGS)


@pytest.fixture(scope="module")
def fork(servers, tmp_path_factory) -> Repository:
    """A repository without variables."""
    return Repository(servers, tmp_path_factory.mktemp("fork"))


def workflows_account(cloud: Cloud) -> str:
    return f"github@{cloud.project}.iam.gserviceaccount.com"


def type_in(repository: Repository, *arguments: str) -> None:
    """Runs a command of the clone as a user would, with the workflows' account."""
    cloud = repository.cloud
    key = str(cloud.oauth.key_file(workflows_account(cloud)))
    settings = {**cloud.environment, **repository.variables, "GOOGLE_APPLICATION_CREDENTIALS": key}
    command = [sys.executable, "-m", "ci", *arguments]
    subprocess.run(command, cwd=repository.clone.folder, env={**os.environ, **settings}, check=True)


def jobs(cloud: Cloud, pipeline: str = "") -> list[str]:
    """Names of the jobs submitted to Vertex AI, of one pipeline or of all."""
    found = cloud.vertex.pipelines.jobs.items()
    return [name for name, job in found if pipeline in ("", job.labels["pipeline"])]


def finish(cloud: Cloud) -> dict[str, str]:
    """Waits for all jobs on Vertex AI, and for jobs that they start; returns their states by name."""
    ended: dict[str, str] = {}
    while waiting := [name for name in jobs(cloud) if name not in ended]:
        ended |= {name: cloud.vertex.pipelines.wait(name).state.name for name in waiting}
    return ended
