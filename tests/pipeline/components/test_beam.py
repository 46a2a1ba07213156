"""Where Beam's work is done, as the compiled pipeline says it."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from pipeline.components import beam
from pipeline.config import Config
from pipeline.errors import MissingSettings
from pipeline.orchestrators.compiled import compile_pipeline
from pipeline.orchestrators.spec_lint import containers
from pipeline.packaging import wheel
from pipeline.plan import Shape
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled

CONFIG = Config(
    workspace="gs://bucket/loop",
    project="project-1",
    region="europe-west1",
    image=IMAGE,
    service_account="pipelines@project-1.iam.gserviceaccount.com",
    network="projects/123/global/networks/inside",
    dataflow_workers=7,
)


def arguments(spec: dict, node: str) -> list[str]:
    return [text for text in dict(containers(spec))[node]["args"] if text.startswith("--")]


def test_beam_runs_in_the_node_unless_workers_are_allowed():
    assert "--runner=FnApiRunner" in arguments(compiled("training").spec, "StatisticsGen")
    assert not beam.on_dataflow(CONFIG, Shape())  # this machine has no workers, whatever is set


def test_dataflow_gets_region_account_number_of_workers_and_image():
    spec = compile_pipeline(CONFIG, "training", Shape()).spec

    for node in ("StatisticsGen", "Transform", "Evaluator"):
        assert set(arguments(spec, node)) >= {
            "--runner=DataflowRunner",
            "--project=project-1",
            "--region=europe-west1",
            "--temp_location=gs://bucket/loop/dataflow/temp",
            "--staging_location=gs://bucket/loop/dataflow/staging",
            "--service_account_email=pipelines@project-1.iam.gserviceaccount.com",
            f"--sdk_container_image={IMAGE}",
            "--autoscaling_algorithm=THROUGHPUT_BASED",
            "--max_num_workers=7",
            "--network=inside",
        }


def test_transform_hands_the_modules_wheel_on_to_dataflow():
    """TFX does so for a module path alone: a function's name never reaches `--extra_package`."""
    transform = compile_pipeline(CONFIG, "training", Shape()).spec["root"]["dag"]["tasks"]["Transform"]
    given = transform["inputs"]["parameters"]

    assert given["module_path"] == {"componentInputParameter": "preprocessing_module"}
    assert "preprocessing_fn" not in given
    assert "module_path" not in json.dumps(compiled("training").spec)


def test_dataflow_without_a_bucket_is_refused():
    with pytest.raises(MissingSettings, match="WORKSPACE"):
        compile_pipeline(Config(image=IMAGE, dataflow_workers=1), "training", Shape())


PROGRAM = """
import json, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

pipeline = beam.Pipeline(options=PipelineOptions(json.loads(sys.argv[1])))
pipeline | beam.Create([1, 2, 3]) | beam.Map(lambda number: number + 1)
print(pipeline.run().state)
"""


def test_dataflow_takes_the_job_and_gets_the_wheel(cloud_config, cloud):
    """Beam's own runner, in a process of its own, given what a node is given and what TFX adds for a module path."""
    config = dataclasses.replace(cloud_config, dataflow_workers=7)
    address = wheel.copy(config).wheel
    storage = open_storage(config.workspace)
    arguments = [*beam.arguments(config, Shape(on_vertex=True)), f"--extra_package={address}"]

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(arguments)],
        env=os.environ | cloud.environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (job,) = cloud.dataflow.jobs.values()
    (pool,) = job["environment"]["workerPools"]
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 7}
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert job["environment"]["serviceAccountEmail"] == config.service_account
    staged = [entry.name for entry in storage.list("dataflow/staging") if entry.name.endswith(".whl")]
    (kept,) = storage.list(address.removeprefix(f"{config.workspace}/").rpartition("/")[0])
    assert [storage.read(name) for name in staged] == [storage.read(kept.name)]
