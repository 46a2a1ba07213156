"""The command `rollback`; tests/pipeline/serving/test_endpoint.py has its cases."""

from pipeline.serving import endpoint, rollout
from tests.conftest import Workspace
from tests.devices import Devices


def test_the_last_promotion_is_taken_back(ci, serving):
    for number in (1, 2):
        endpoint.promote(serving.config, serving.release(number).tag)

    done = ci("rollback", "--json", **serving.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == done.json["promoted"] == "model-1" and done.json["changed"] is True
    assert done.json["traffic"] == serving.traffic == {"model-1": 100}
    assert "Undeploying model-2 from digits" in done.err


def test_settings_that_are_missing_are_named(ci):
    done = ci("rollback")
    assert done.code == 2 and "VERTEX_ENDPOINT" in done.err


def test_devices_return_to_the_release_before(ci, tmp_path):
    devices = Devices(Workspace(tmp_path / "workspace"), tmp_path)
    for number in (1, 2):
        rollout.promote(devices.config, devices.release(number).tag)

    done = ci("rollback", "--only", "devices", "--json", **devices.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == "model-1" and devices.model() == b"TFL3 1"
