"""A run on Vertex AI: the states of its nodes as they change, and how it ended."""

import time
from typing import TYPE_CHECKING

from pipeline.cloud.calls import cloud_errors, poll_intervals, read_retry
from pipeline.cloud.vertex import client, console_url
from pipeline.config import Config
from pipeline.errors import JobFailed
from pipeline.progress.nodes import NodeLines

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob
    from google.cloud.aiplatform_v1.types import PipelineTaskDetail

UNSUCCESSFUL = frozenset({"failed", "cancelling", "cancelled"})
ENDED = UNSUCCESSFUL | {"succeeded"}
# what people see of a node that ended
SHOWN = {
    "succeeded": "done",
    "skipped": "unchanged",  # Vertex AI's word for outputs that are those of an equal run
    "failed": "failed",
    "cancelled": "cancelled",
}


def state_of(job: "PipelineJob") -> str:
    """Returns "pending", "running", "succeeded", "failed" and so on."""
    return job.state.name.removeprefix("PIPELINE_STATE_").lower()


def link(config: Config, name: str) -> str:
    """Returns the page that shows people the run with this resource name."""
    return console_url(config, f"locations/{config.region}/pipelines/runs/{name.rpartition('/')[2]}")


def follow(config: Config, name: str) -> str:
    """Shows each node of the run as it ends, and returns the state that the run ended in. Raises JobFailed."""
    jobs = client(config, "PipelineService")
    told_of: set[str] = set()
    with NodeLines() as lines:
        for pause in poll_intervals(longest=5.0):
            with cloud_errors(f"Asking how {name.rpartition('/')[2]} goes"):
                job = jobs.get_pipeline_job(name=name, retry=read_retry())
            nodes = _nodes(job)
            for node in nodes:
                state = _state(node)
                if state in SHOWN and node.task_name not in told_of:
                    told_of.add(node.task_name)
                    lines.ended(node.task_name, SHOWN[state], _seconds(node))
            lines.busy([node.task_name for node in nodes if _state(node) == "running"] or [state_of(job)])
            if state_of(job) in ENDED:
                break
            time.sleep(pause)
    if state_of(job) in UNSUCCESSFUL:
        raise failure(config, job)
    return state_of(job)


def output(config: Config, name: str, node: str, key: str) -> str:
    """Returns the address of what a node of a run that succeeded wrote as `key`."""
    with cloud_errors(f"Asking what came of {name.rpartition('/')[2]}"):
        job = client(config, "PipelineService").get_pipeline_job(name=name, retry=read_retry())
    (found,) = (task for task in _nodes(job) if task.task_name == node)
    return found.outputs[key].artifacts[0].uri


def failure(config: Config, job: "PipelineJob") -> JobFailed:
    """Returns an error that names the node that failed first, and why."""
    failed = [node for node in _nodes(job) if _state(node) == "failed"]
    where = link(config, job.name)
    if not failed:
        return JobFailed(job.display_name, state_of(job), job.error.message, where)
    first = min(failed, key=lambda node: node.end_time.timestamp() if node.end_time else 0)
    return JobFailed(first.task_name, "failed", first.error.message, where)


def _nodes(job: "PipelineJob") -> list["PipelineTaskDetail"]:
    """The tasks of the pipeline, in the order in which they started; Vertex AI also lists the whole of it as one."""
    names = job.pipeline_spec["root"]["dag"]["tasks"]
    known = [task for task in job.job_detail.task_details if task.task_name in names]
    return sorted(known, key=lambda task: task.start_time.timestamp() if task.start_time else float("inf"))


def _state(task: "PipelineTaskDetail") -> str:
    return task.state.name.lower()


def _seconds(task: "PipelineTaskDetail") -> float:
    return (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0
