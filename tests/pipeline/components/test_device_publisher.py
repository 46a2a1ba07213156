"""The node behind ReleasePusher that publishes for devices, run by its executor."""

import json
import pathlib

import pytest
from tfx.types import standard_artifacts

from pipeline.components.device_publisher import DevicePublisher_Executor
from pipeline.outcomes import Metrics, TrainingOutcome
from pipeline.serving import rollout
from tests.devices import Devices
from tests.places import in_a_bucket, in_a_folder, kind, workspace

__all__ = ["kind", "workspace"]


@pytest.fixture
def devices(workspace, tmp_path) -> Devices:
    return Devices(workspace, tmp_path)


@pytest.fixture
def run(devices):
    """Runs the node after a ReleasePusher that released `tag`; returns what it wrote."""

    def node(tag: str | None) -> dict | None:
        outcome = TrainingOutcome((1,), tag is not None, Metrics(), tag)
        devices.workspace.put({f"{tag}/pushed/outcome.json": json.dumps(outcome.to_json()).encode()})
        pushed, published = standard_artifacts.PushedModel(), standard_artifacts.String()
        pushed.uri, published.uri = (f"{devices.workspace.address}/{tag}/{name}" for name in ("pushed", "published"))
        settings = devices.config.to_json()
        key = pathlib.Path(devices.key.file).read_text().splitlines()[1]
        assert key not in settings
        DevicePublisher_Executor().Do({"pushed_model": [pushed]}, {"published": [published]}, {"settings": settings})
        return json.loads(devices.workspace.read(f"{tag}/published"))

    return node


@in_a_folder
def test_a_release_gets_its_share_of_beta_once_however_often_the_node_runs(devices, run):
    devices.release(1)
    run("model-1")
    devices.release(2)
    for _ in range(2):
        channels = run("model-2")["channels"]
        assert (channels["stable"]["tag"], channels["beta"]["tag"]) == ("model-1", "model-2")
        assert channels["beta"]["percent"] == 10 and channels["beta"]["previous"] == "model-1"
    assert 5 < devices.shares("beta")[b"TFL3 2"] < 40

    rollout.roll_back(devices.config)
    run("model-2")
    assert devices.shares("beta") == {b"TFL3 1": 200}, "a retried run does not bring back what was rolled back"


@in_a_folder
def test_a_model_that_was_not_released_is_published_nowhere(devices, run):
    assert run(None) is None
    assert not devices.workspace.files("devices")


@in_a_bucket
def test_on_google_cloud_the_key_stays_in_kms(devices, run, cloud):
    key = cloud.kms.add("spanloop", "device-models")
    devices.config = devices.settings(device_signing_key=key)
    devices.release(1)

    assert run("model-1")["channels"]["stable"]["tag"] == "model-1"

    assert devices.pointer("stable", key=cloud.kms.pem(key)).tag == "model-1"
    assert cloud.asked(method="AsymmetricSign")
