"""Fixtures that run a test twice: on storage in a temporary folder and in the local servers' bucket."""

import pytest

from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage
from tests.conftest import BucketWorkspace, Workspace

in_a_folder = pytest.mark.parametrize("kind", ["folder"])  # for tests of properties that only folders have
in_a_bucket = pytest.mark.parametrize("kind", ["bucket"])


@pytest.fixture(params=["folder", "bucket"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def workspace(kind, tmp_path, request) -> Workspace:
    if kind == "folder":
        return Workspace(tmp_path / "workspace")
    return BucketWorkspace(request.getfixturevalue("cloud_environment"), request.getfixturevalue("gs_workspace"))


@pytest.fixture
def storage(workspace) -> Storage:
    return open_storage(workspace.address)
