"""The two nodes behind ReleasePusher, run as a container on Vertex AI runs them: by their executors."""

import json

import pytest
from tfx.types import standard_artifacts

from pipeline.components.endpoint_deployer import EndpointDeployer_Executor
from pipeline.components.model_uploader import ModelUploader_Executor
from pipeline.outcomes import Metrics, TrainingOutcome
from pipeline.serving import endpoint


@pytest.fixture
def run(serving):
    """Runs both nodes after a ReleasePusher that released `tag`; returns what they wrote."""

    def both(tag: str | None) -> tuple[dict, dict | None]:
        root = f"{serving.config.workspace}/pipeline_root/{tag}"
        outcome = TrainingOutcome((1,), tag is not None, Metrics(), tag)
        serving.cloud.gcs.put(f"{root}/pushed/outcome.json", json.dumps(outcome.to_json()).encode())
        pushed, uploaded, deployed = (
            standard_artifacts.PushedModel(),
            standard_artifacts.String(),
            standard_artifacts.String(),
        )
        pushed.uri, uploaded.uri, deployed.uri = f"{root}/pushed", f"{root}/uploaded", f"{root}/deployed"
        settings = {"settings": serving.config.to_json()}
        ModelUploader_Executor().Do({"pushed_model": [pushed]}, {"uploaded": [uploaded]}, settings)
        EndpointDeployer_Executor().Do({"uploaded": [uploaded]}, {"deployed": [deployed]}, settings)
        return tuple(json.loads(serving.cloud.gcs.read(artifact.uri)) for artifact in (uploaded, deployed))

    return both


def test_a_released_model_is_uploaded_and_deployed_once_however_often_the_nodes_run(serving, run):
    serving.release(1)
    for _ in range(2):
        uploaded, deployed = run("model-1")

        assert uploaded["release"] == "model-1" and uploaded["version"].endswith("@1")
        assert deployed["traffic"] == serving.traffic == {"model-1": 100}
    assert len(serving.versions()) == 1


def test_a_model_that_was_not_released_is_left_where_it_is(serving, run):
    assert run(None) == ({"release": None, "version": None}, None)
    assert serving.endpoints() == []


def test_a_retried_run_does_not_bring_back_what_was_rolled_back(serving, run):
    for number in (1, 2):
        serving.release(number)
        run(f"model-{number}")
    assert serving.traffic == {"model-1": 90, "model-2": 10}
    endpoint.roll_back(serving.config)

    run("model-2")

    assert serving.traffic == {"model-1": 100}
