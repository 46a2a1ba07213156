"""Promoting and rolling back on the endpoint and on devices, together and one by one."""

import pytest

from pipeline.errors import MissingSettings, NoDeviceModel, NothingToRollBack, UsageError
from pipeline.serving import device_channel, endpoint, rollout
from pipeline.serving.rollout import DEVICES, ENDPOINT
from tests.conftest import BucketWorkspace
from tests.devices import Devices
from tests.places import in_a_folder


class Killed(BaseException):
    """Stands for a kill."""


class Pair:
    """Releases of both models: what the endpoint and what devices serve of them."""

    def __init__(self, serving, devices: Devices, model: str):
        self.serving, self.devices, self.config = serving, devices, devices.config
        self._model = model

    def release(self, number: int, device: bool = True) -> None:
        """Releases a pair, and tries it as the pipeline's nodes do."""
        release = self.devices.release(number, self._model, device)
        endpoint.deploy(self.config, release)
        if device:
            device_channel.publish(self.config, release)

    @property
    def state(self) -> tuple[dict[str, int], str, str]:
        """The endpoint's traffic, and the releases that the channels point to."""
        return self.serving.traffic, self.devices.pointer("stable").tag, self.devices.pointer("beta").tag


@pytest.fixture
def pair(serving, saved_model, tmp_path) -> Pair:
    """model-1 is promoted, model-2 is tried."""
    workspace = BucketWorkspace(serving.cloud, serving.config.workspace)
    of = serving.config
    devices = Devices(workspace, tmp_path, project=of.project, region=of.region, endpoint=of.endpoint, image=of.image)
    made = Pair(serving, devices, saved_model)
    for number in (1, 2):
        made.release(number)
    assert made.state == TRIED
    return made


TRIED = ({"model-1": 90, "model-2": 10}, "model-1", "model-2")
PROMOTED = ({"model-2": 100}, "model-2", "model-2")
ROLLED_BACK = ({"model-1": 100}, "model-1", "model-1")


def test_both_are_promoted_and_rolled_back_together(pair):
    done = rollout.promote(pair.config)
    assert pair.state == PROMOTED
    assert done.endpoint.traffic == {"model-2": 100} and done.devices.channels["stable"].tag == "model-2"
    assert not rollout.promote(pair.config).to_json()["changed"]

    done = rollout.roll_back(pair.config)
    assert pair.state == ROLLED_BACK
    assert done.endpoint.release == done.devices.channels["stable"].tag == "model-1"
    assert not rollout.roll_back(pair.config).to_json()["changed"] and pair.state == ROLLED_BACK


def test_the_canary_is_removed_from_both(pair):
    rollout.roll_back(pair.config)
    assert pair.state == ROLLED_BACK


def test_each_moves_alone_and_the_other_follows(pair):
    rollout.promote(pair.config, only=DEVICES, percent=50)
    assert pair.state == ({"model-1": 90, "model-2": 10}, "model-2", "model-2")
    assert pair.devices.pointer("stable").percent == 50
    rollout.promote(pair.config, only=ENDPOINT)
    assert pair.state == PROMOTED and pair.devices.pointer("stable").percent == 50
    rollout.roll_back(pair.config, only=ENDPOINT)
    assert pair.state == ({"model-1": 100}, "model-2", "model-2")
    rollout.roll_back(pair.config)
    assert pair.state == ROLLED_BACK


@pytest.mark.parametrize("what, wanted", [("promote", PROMOTED), ("roll back", ROLLED_BACK)])
def test_a_call_after_a_kill_in_between_completes_it(pair, what, wanted):
    """Killed at the first, second, third ... line of the log; each time called again until it gets one line further."""
    way = rollout.promote if what == "promote" else rollout.roll_back
    if what == "roll back":
        rollout.promote(pair.config)
    killed = []
    for _ in range(20):
        if lines := interrupted(lambda log: way(pair.config, log=log)):
            killed.append(lines)
            continue
        break
    assert pair.state == wanted
    halves = {"Channel" if line.startswith("Channel") else "endpoint" for line in killed}
    assert halves == {"Channel", "endpoint"}


def interrupted(way) -> str:
    """Calls until the second line of the log, which is returned; "" if there was one line or none."""
    lines = []

    def log(line):
        lines.append(line)
        if len(lines) == 2:
            raise Killed

    try:
        way(log)
    except Killed:
        return lines[-1]
    return ""


def test_a_release_without_a_device_model_moves_nothing_or_the_endpoint_alone(pair):
    pair.release(3, device=False)
    before = pair.state
    with pytest.raises(NoDeviceModel, match="promote model-3 --only endpoint"):
        rollout.promote(pair.config)
    assert pair.state == before
    rollout.promote(pair.config, only=ENDPOINT)
    assert pair.state == ({"model-3": 100}, "model-1", "model-2")


def test_a_half_that_has_nothing_to_roll_back_does_not_stop_the_other(serving, saved_model, tmp_path):
    workspace, of = BucketWorkspace(serving.cloud, serving.config.workspace), serving.config
    devices = Devices(workspace, tmp_path, project=of.project, region=of.region, endpoint=of.endpoint, image=of.image)
    pair, logged = Pair(serving, devices, saved_model), []
    pair.release(1)
    rollout.promote(pair.config)
    devices.release(2, saved_model)
    rollout.promote(pair.config, only=DEVICES)
    with pytest.raises(NothingToRollBack):
        rollout.roll_back(pair.config, only=ENDPOINT)

    rollout.roll_back(pair.config, log=logged.append)

    assert pair.state == ROLLED_BACK and any("nothing to roll back to on digits" in line for line in logged)


@in_a_folder
def test_devices_alone_need_nothing_of_google_cloud(devices):
    for number in (1, 2):
        devices.release(number)
    with pytest.raises(NothingToRollBack):
        rollout.roll_back(devices.config)
    rollout.promote(devices.config, "model-1")
    done = rollout.promote(devices.config)
    assert devices.model() == b"TFL3 2" and done.endpoint is None
    found = done.to_json()
    assert (found["release"], found["endpoint"], found["traffic"], found["changed"]) == ("model-2", None, {}, True)
    rollout.roll_back(devices.config)
    assert devices.model() == b"TFL3 1"


@in_a_folder
def test_what_is_not_configured_is_named(devices):
    with pytest.raises(MissingSettings, match="VERTEX_ENDPOINT"):
        rollout.promote(devices.config, only=ENDPOINT)
    nothing = devices.settings(device_channel="", device_signing_key="")
    with pytest.raises(MissingSettings, match="DEVICE_CHANNEL"):
        rollout.promote(nothing, only=DEVICES)
    with pytest.raises(MissingSettings, match="VERTEX_ENDPOINT"):
        rollout.roll_back(nothing)
    with pytest.raises(UsageError, match="--percent is about devices"):
        rollout.promote(nothing, percent=50)
