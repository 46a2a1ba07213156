"""What runs so far tell about the next one; tests/emulators/test_vertex_pipelines.py compares it with a second run."""

import copy
import dataclasses

import pytest

from pipeline.cloud.rest import default_rest
from pipeline.errors import CloudRefused
from pipeline.orchestrators import past_runs, vertex, vertex_request
from pipeline.plan import Shape
from tests.pipeline.conftest import compiled


def job(made, seconds: int = 90, states: dict[str, str] | None = None, **values: str) -> dict:
    """A run of a compiled pipeline whose nodes succeeded, each in that many seconds."""
    spec = made.spec
    tasks = [
        {
            "taskName": name,
            "state": (states or {}).get(name, "SUCCEEDED"),
            "startTime": "2026-11-27T18:00:00.123456789Z",
            "endTime": f"2026-11-27T18:{seconds // 60:02d}:{seconds % 60:02d}Z",
        }
        for name in spec["root"]["dag"]["tasks"]
    ]
    return {
        "name": "projects/1/locations/r/pipelineJobs/training-1",
        "state": "PIPELINE_STATE_SUCCEEDED",
        "pipelineSpec": spec,
        "runtimeConfig": {"parameterValues": {name: values.get(name, "x") for name in made.parameters}},
        "jobDetail": {"taskDetails": [*tasks, {"taskName": "training", "state": "SUCCEEDED"}]},
    }


def test_an_equal_run_is_cached_as_far_as_its_nodes_succeeded():
    made = compiled("training")
    nodes = list(made.spec["root"]["dag"]["tasks"])
    assert past_runs.cached_nodes(job(made), [job(made)]) == nodes
    assert past_runs.cached_nodes(job(made), []) == []

    failed = past_runs.cached_nodes(job(made), [job(made, states={"Trainer": "FAILED", "SchemaGen": "SKIPPED"})])
    assert {"SpanExampleGen", "SchemaGen", "Transform"} <= set(failed)
    assert not {"Trainer", "Evaluator", "ReleasePusher"} & set(failed)


def test_another_parameter_counts_for_the_nodes_that_take_it_and_all_that_follow():
    made = compiled("training")

    found = past_runs.cached_nodes(job(made, training_config="y"), [job(made)])

    assert "Transform" in found and not {"Trainer", "Evaluator", "ReleasePusher"} & set(found)
    assert past_runs.cached_nodes(job(made, spans="[2]"), [job(made)]) == []
    # of several runs the one that has made the most
    assert past_runs.cached_nodes(job(made, spans="[2]"), [job(made), job(made, spans="[2]")])


def test_another_image_and_switched_off_caching_leave_nothing():
    made, before = compiled("training"), job(compiled("training"))
    for executor in before["pipelineSpec"]["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = "another"

    assert past_runs.cached_nodes(job(made), [before]) == []
    uncached = compiled("training", Shape(), caching=False)
    assert past_runs.cached_nodes(job(uncached), [job(uncached)]) == []


def test_a_node_lasts_as_long_as_in_the_newest_run_in_which_it_ran():
    made = compiled("training")
    newest, before = job(made, seconds=100, states={"SchemaGen": "SKIPPED"}), job(made, seconds=200)
    unended = copy.deepcopy(newest)
    for task in unended["jobDetail"]["taskDetails"]:
        task.pop("endTime", None)

    found = past_runs.seconds([unended, newest, before])

    assert (found["Trainer"], found["SchemaGen"]) == (100, 200) and "training" not in found


@pytest.fixture
def wanted(cloud_config, span_in_bucket, cloud):
    cloud.vertex.pipelines.hold()
    return vertex_request.prepare(cloud_config, "training", "all")


def test_the_newest_runs_of_a_pipeline_are_read_with_their_nodes(cloud_config, wanted, cloud):
    rest = default_rest()
    assert past_runs.newest(rest, cloud_config, "training") == []
    first = vertex.send(cloud_config, wanted)
    other = dataclasses.replace(wanted, values={**wanted.values, "current": "model-7"})
    cloud.vertex.pipelines.release()
    cloud.vertex.pipelines.wait(first.job)
    cloud.vertex.pipelines.hold()
    vertex.send(cloud_config, other)

    newest, before = past_runs.newest(rest, cloud_config, "training")

    assert past_runs.id_of(newest) == other.name and past_runs.state_of(newest) == "pending"
    assert newest["runtimeConfig"]["parameterValues"]["current"] == "model-7"
    assert "SpanExampleGen" in {task["taskName"] for task in before["jobDetail"]["taskDetails"]}
    assert past_runs.newest(rest, cloud_config, "retraining") == []
    assert past_runs.find(rest, cloud_config, wanted.name)["name"] == first.job
    assert past_runs.find(rest, cloud_config, "training-none") is None

    cloud.policies.clear()
    with pytest.raises(CloudRefused, match="last run of training"):
        past_runs.newest(rest, cloud_config, "training")
