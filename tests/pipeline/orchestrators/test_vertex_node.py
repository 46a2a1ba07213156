"""The program of a node's container: where TFX writes, and a node that submits to Dataflow."""

import dataclasses
import json
import os
import subprocess
import sys

from pipeline.components import beam
from pipeline.orchestrators import vertex_node
from pipeline.orchestrators.spec_lint import containers
from pipeline.plan import Shape
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled

MOUNTED = {
    "inputs": {"parameterValues": {"text": "/gcs/of-a-user"}},
    "outputs": {
        "outputFile": "/gcs/bucket/root/executor_output.json",
        "parameters": {"done": {"outputFile": "/gcs/bucket/root/done"}},
        "artifacts": {"model": {"artifacts": [{"uri": "gs://bucket/root/model", "metadata": {"n": 1}}]}},
    },
}


def test_output_files_below_the_mount_are_written_by_their_addresses():
    arguments = ["--executor_class_path", "a.B", "--json_serialized_invocation_args", json.dumps(MOUNTED), "--x=/gcs/y"]

    *others, text, last = vertex_node.with_addresses(arguments)

    assert [*others, last] == ["--executor_class_path", "a.B", "--json_serialized_invocation_args", "--x=/gcs/y"]
    changed = json.loads(text)
    assert changed["inputs"] == MOUNTED["inputs"]
    assert changed["outputs"]["outputFile"] == "gs://bucket/root/executor_output.json"
    assert changed["outputs"]["parameters"] == {"done": {"outputFile": "gs://bucket/root/done"}}
    assert changed["outputs"]["artifacts"] == MOUNTED["outputs"]["artifacts"]


def test_addresses_stay_as_they_are():
    text = json.dumps({"outputs": {"outputFile": "gs://bucket/executor_output.json"}})
    assert vertex_node.with_addresses(["--json_serialized_invocation_args", text])[1] == text
    assert vertex_node.with_addresses(["--help"]) == ["--help"]


def test_every_node_runs_it():
    for _, container in containers(compiled("training").spec):
        assert container["command"] == list(vertex_node.COMMAND)


def test_a_node_submits_to_dataflow_and_writes_its_output_through_the_api(cloud_config, cloud):
    """StatisticsGen as Vertex AI starts it; the local Dataflow runs no job, so there are no statistics."""
    root = f"{cloud_config.workspace}/root"
    cloud.gcs.put(f"{root}/examples/Split-train/data.tfrecord", b"")

    def artifact(name: str, kind: str) -> dict:
        made = {"name": name, "uri": f"{root}/{name}", "metadata": {"split_names": '["train"]'}}
        return {name: {"artifacts": [made | {"type": {"instanceSchema": f"title: tfx.{kind}\ntype: object\n"}}]}}

    executor_input = {
        "inputs": {"artifacts": artifact("examples", "Examples"), "parameterValues": {"exclude_splits": "[]"}},
        "outputs": {
            "artifacts": artifact("statistics", "ExampleStatistics"),
            "outputFile": f"/gcs/{root.removeprefix('gs://')}/executor_output.json",
        },
    }
    config = dataclasses.replace(cloud_config, dataflow_workers=3)
    arguments = ["--executor_class_path", "tfx.components.statistics_gen.executor.Executor"]
    arguments += [vertex_node.INVOCATION, json.dumps(executor_input), *beam.arguments(config, Shape(on_vertex=True))]

    done = subprocess.run(
        [sys.executable, "-W", "ignore", *vertex_node.COMMAND[1:], *arguments],
        env=os.environ | cloud.environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (job,) = cloud.dataflow.jobs.values()
    (pool,) = job["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert job["environment"]["serviceAccountEmail"] == config.service_account
    written = json.loads(cloud.gcs.read(f"{root}/executor_output.json"))
    assert set(written["artifacts"]) == {"statistics"}
