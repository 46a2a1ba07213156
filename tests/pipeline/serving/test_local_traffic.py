"""Which releases `serve` gives which share: the canary policy on a workspace without an endpoint."""

import pytest

from pipeline.errors import BrokenTraffic, NoRelease, NothingToRollBack, ReleaseNotFound
from pipeline.serving import rollout
from pipeline.serving.local_traffic import LocalTraffic
from tests.conftest import Workspace
from tests.devices import Devices


@pytest.fixture
def devices(tmp_path) -> Devices:
    """Releases in a folder; devices play no part."""
    return Devices(Workspace(tmp_path / "workspace"), tmp_path, device_channel="", device_signing_key="")


@pytest.fixture
def traffic(devices) -> LocalTraffic:
    """model-1 is promoted, model-2 is released."""
    devices.release(1)
    made = LocalTraffic(devices.config)
    made.start()
    devices.release(2)
    return made


def shares(traffic: LocalTraffic) -> dict[str, int]:
    return dict(traffic.state().traffic)


def test_the_first_release_gets_all_and_the_next_is_a_canary(devices, traffic):
    assert shares(traffic) == {"model-1": 90, "model-2": 10}
    traffic.start()  # of another server
    assert shares(traffic) == {"model-1": 90, "model-2": 10}


def test_the_canary_is_promoted_and_taken_back(devices, traffic):
    done = rollout.promote(devices.config)
    assert done.to_json()["server"] == {"model-2": 100} == shares(traffic) and done.to_json()["release"] == "model-2"
    assert not rollout.promote(devices.config).to_json()["changed"]

    assert rollout.roll_back(devices.config).to_json()["server"] == {"model-1": 100} == shares(traffic)
    assert not rollout.roll_back(devices.config).to_json()["changed"]
    assert rollout.promote(devices.config, "model-2", rollout.SERVER).server.traffic == {"model-2": 100}


def test_a_canary_that_was_removed_does_not_come_back(devices, traffic):
    traffic.roll_back()
    assert shares(traffic) == {"model-1": 100}
    devices.release(3)
    assert shares(traffic) == {"model-1": 90, "model-3": 10}
    assert rollout.served(devices.config).server == {"model-1": 90, "model-3": 10}


def test_a_workspace_that_no_server_has_used_is_not_promoted_there(devices):
    devices.release(1)
    assert rollout.served(devices.config).server is None
    with pytest.raises(NothingToRollBack):
        LocalTraffic(devices.config).roll_back()
    assert rollout.promote(devices.config, only=rollout.SERVER).server.traffic == {"model-1": 100}


def test_what_cannot_be_is_named(devices, traffic):
    with pytest.raises(ReleaseNotFound, match="model-7"):
        traffic.promote("model-7")
    for content in (
        b"{",
        b"[]",
        b'{"traffic": {"model-1": 90}, "labels": {}}',
        b'{"traffic": {"x": 100}, "labels": {}}',
    ):
        devices.workspace.put({"serving/traffic.json": content})
        with pytest.raises(BrokenTraffic, match="Delete it"):
            traffic.state()
    assert "traffic.json" in rollout.served(devices.config).problems[0]


def test_without_a_release_there_is_nothing_to_serve(devices):
    with pytest.raises(NoRelease):
        LocalTraffic(devices.config).state()
