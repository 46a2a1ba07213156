"""The node behind ReleasePusher that publishes for devices, run by its executor."""

import json
import pathlib

import pytest
from tfx.types import standard_artifacts

from pipeline.components.device_publisher import DevicePublisher_Executor
from pipeline.outcomes import Metrics, TrainingOutcome
from pipeline.serving import rollout
from tests.conftest import Workspace
from tests.devices import Devices


@pytest.fixture
def devices(tmp_path) -> Devices:
    return Devices(Workspace(tmp_path / "workspace"), tmp_path)


@pytest.fixture
def run(devices, tmp_path):
    """Runs the node after a ReleasePusher that released `tag`; returns what it wrote."""

    def node(tag: str | None) -> dict | None:
        root = tmp_path / "pipeline_root" / str(tag)
        (root / "pushed").mkdir(parents=True, exist_ok=True)
        outcome = TrainingOutcome((1,), tag is not None, Metrics(), tag)
        (root / "pushed" / "outcome.json").write_text(json.dumps(outcome.to_json()))
        pushed, published = standard_artifacts.PushedModel(), standard_artifacts.String()
        pushed.uri, published.uri = str(root / "pushed"), str(root / "published")
        settings = devices.config.to_json()
        key = pathlib.Path(devices.key.file).read_text().splitlines()[1]
        assert key not in settings
        DevicePublisher_Executor().Do({"pushed_model": [pushed]}, {"published": [published]}, {"settings": settings})
        return json.loads((root / "published").read_text())

    return node


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


def test_a_model_that_was_not_released_is_published_nowhere(devices, run):
    assert run(None) is None
    assert not devices.workspace.files("devices")
