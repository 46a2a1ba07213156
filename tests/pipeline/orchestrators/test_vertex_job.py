"""A run on the local Vertex AI as people see it. Its image holds no more than what a test puts there."""

import pathlib
import re
import shutil

import pytest

from pipeline.cloud.vertex import client
from pipeline.errors import JobFailed
from pipeline.orchestrators import vertex, vertex_job
from pipeline.orchestrators.vertex_request import prepare
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE

ROOT = pathlib.Path(__file__).parents[3]
NODES = {
    "SpanPreparator": "pipeline.components.span_preparator",
    "PipelineTrigger": "pipeline.orchestrators.pipeline_trigger",
}
PROGRAM = ("pipeline/__init__.py", "pipeline/orchestrators/__init__.py", "pipeline/orchestrators/vertex_node.py")
NODE = """
from tfx.dsl.components.base.base_executor import BaseExecutor


class {name}_Executor(BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        (artifact,) = next(iter(output_dict.values()))
        artifact.write("{name} was here")
"""


@pytest.fixture
def submitted(cloud_config, span_in_bucket, cloud, tmp_path):
    """Submits a retraining whose image holds these nodes; returns its resource name."""

    def submit(*nodes: str) -> str:
        for program in PROGRAM:
            (tmp_path / "image" / program).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / program, tmp_path / "image" / program)
        for name in nodes:
            module = pathlib.Path(*NODES[name].split(".")).with_suffix(".py")
            (tmp_path / "image" / module).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "image" / module).write_text(NODE.format(name=name))
        cloud.vertex.workers.images.add(IMAGE, tmp_path / "image")
        return vertex.send(cloud_config, prepare(cloud_config, "retraining", "all")).job

    return submit


def shown(capfd) -> list[tuple[str, str]]:
    return re.findall(r"^  (\w+) +(\w+) +\d+\.\d s$", capfd.readouterr().err, re.MULTILINE)


def test_each_node_is_shown_when_it_ends(submitted, cloud_config, capfd):
    name = submitted("SpanPreparator", "PipelineTrigger")

    assert vertex_job.follow(cloud_config, name) == "succeeded"
    assert shown(capfd) == [("SpanPreparator", "done"), ("PipelineTrigger", "done")]
    written = vertex_job.output(cloud_config, name, "PipelineTrigger", "outcome")
    written = written.removeprefix(f"{cloud_config.workspace}/")
    assert open_storage(cloud_config.workspace).read(written) == b"PipelineTrigger was here"


def test_a_failed_run_names_the_node_its_error_and_a_page(submitted, cloud_config, capfd):
    with pytest.raises(JobFailed) as failed:
        vertex_job.follow(cloud_config, submitted("SpanPreparator"))

    assert shown(capfd) == [("SpanPreparator", "done"), ("PipelineTrigger", "failed")]
    assert (failed.value.node, failed.value.state) == ("PipelineTrigger", "failed")
    assert "pipeline_trigger" in failed.value.reason and failed.value.reason in str(failed.value)
    region, project = cloud_config.region, cloud_config.project
    page = rf"https://console\.cloud\.google\.com/vertex-ai/locations/{region}/pipelines/runs/retraining-\w+"
    assert re.fullmatch(rf"{page}\?project={project}", failed.value.link)


def test_a_cancelled_run_is_no_success(submitted, cloud_config, cloud):
    cloud.vertex.pipelines.hold()
    name = submitted()
    client(cloud_config, "PipelineService").cancel_pipeline_job(name=name)

    with pytest.raises(JobFailed) as failed:
        vertex_job.follow(cloud_config, name)
    assert (failed.value.node, failed.value.state) == ("retraining for span 1", "cancelled")
