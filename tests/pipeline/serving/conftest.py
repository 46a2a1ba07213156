"""Channels for devices, in a folder and in a bucket."""

import pytest

from tests.devices import Devices
from tests.places import kind, workspace

__all__ = ["kind", "workspace"]


@pytest.fixture
def devices(workspace, tmp_path) -> Devices:
    return Devices(workspace, tmp_path)
