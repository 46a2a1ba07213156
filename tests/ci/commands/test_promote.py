"""The command `promote`; tests/pipeline/serving/test_endpoint.py has its cases."""

from pipeline.serving import endpoint
from tests.conftest import Workspace
from tests.devices import Devices


def test_a_release_is_promoted_and_the_outcome_printed(ci, serving):
    endpoint.deploy(serving.config, serving.release(1))
    endpoint.deploy(serving.config, serving.release(2))

    done = ci("promote", "--json", **serving.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == done.json["promoted"] == "model-2" and done.json["changed"] is True
    assert done.json["traffic"] == serving.traffic == {"model-2": 100}
    assert done.json["endpoint"] == serving.endpoint.name
    assert "Undeploying model-1 from digits" in done.err and "digits: model-2 100 %." in done.err


def test_settings_that_are_missing_are_named(ci):
    done = ci("promote", "--json")
    assert done.code == 2 and done.out == ""
    assert "VERTEX_ENDPOINT" in done.err and "GCP_PROJECT" in done.err and "make emulators" in done.err


def test_devices_are_promoted_without_an_endpoint(ci, tmp_path):
    devices = Devices(Workspace(tmp_path / "workspace"), tmp_path)
    for number in (1, 2):
        devices.release(number)
    assert ci("promote", "model-1", **devices.variables).code == 0

    done = ci("promote", "", "--percent", "20", "--json", **devices.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == "model-2" and done.json["endpoint"] is None and done.json["traffic"] == {}
    stable = done.json["devices"]["channels"]["stable"]
    assert (stable["tag"], stable["percent"], stable["previous"]) == ("model-2", 20, "model-1")
    assert "devices: stable model-2 20 % (others model-1), beta model-2 100 %." in done.err
    assert 10 < devices.shares("stable")[b"TFL3 2"] < 80
    key = (tmp_path / "device-key.pem").read_text().splitlines()[1]
    assert key not in done.err + done.out
