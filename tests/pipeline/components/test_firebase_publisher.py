"""The node behind ReleasePusher that publishes to Firebase ML, run by its executor."""

import json

import pytest
from tfx.types import standard_artifacts

from pipeline.components.firebase_publisher import FirebasePublisher_Executor
from pipeline.outcomes import Metrics, TrainingOutcome
from tests.devices import Devices
from tests.places import workspace

__all__ = ["workspace"]


@pytest.fixture
def kind() -> str:
    return "bucket"


@pytest.fixture
def devices(cloud, workspace, tmp_path) -> Devices:
    return Devices(workspace, tmp_path, project=cloud.project, firebase_model="digits")


@pytest.mark.parametrize("tag", ["model-1", None])
def test_a_released_model_and_no_other_is_published(cloud, devices, tag):
    devices.release(1, data=b"\x1c\0\0\0TFL3 1")
    outcome = TrainingOutcome((1,), tag is not None, Metrics(), tag)
    devices.workspace.put({"run/pushed/outcome.json": json.dumps(outcome.to_json()).encode()})
    pushed, published = standard_artifacts.PushedModel(), standard_artifacts.String()
    pushed.uri, published.uri = (f"{devices.workspace.address}/run/{name}" for name in ("pushed", "published"))

    settings = {"settings": devices.config.to_json()}
    FirebasePublisher_Executor().Do({"pushed_model": [pushed]}, {"published": [published]}, settings)

    models = [name.rpartition("/")[2] for name in cloud.firebase.models]
    assert [json.loads(devices.workspace.read("run/published"))] == (models or [None]) and bool(models) == bool(tag)
