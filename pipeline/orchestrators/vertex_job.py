"""Runs on Vertex AI: their state, the progress of their nodes, their outputs and failures."""

import time
from typing import TYPE_CHECKING

from pipeline.cloud.calls import cloud_errors, poll_intervals, read_retry
from pipeline.cloud.vertex import client, console_url
from pipeline.config import Config
from pipeline.errors import JobFailed
from pipeline.progress.nodes import NodeProgress

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob
    from google.cloud.aiplatform_v1.types import PipelineTaskDetail

UNSUCCESSFUL = frozenset({"failed", "cancelling", "cancelled"})
ENDED = UNSUCCESSFUL | {"succeeded"}
# states of nodes that ended, as people see them
SHOWN = {
    "succeeded": "done",
    "skipped": "unchanged",  # Vertex AI's word for a node whose outputs an equal run had made
    "failed": "failed",
    "cancelled": "cancelled",
}


def state_of(job: "PipelineJob") -> str:
    """Returns "pending", "running", "succeeded", "failed" and so on."""
    return job.state.name.removeprefix("PIPELINE_STATE_").lower()


def link(config: Config, name: str) -> str:
    """Returns the address of a run's page in the console."""
    return console_url(config, f"locations/{config.region}/pipelines/runs/{name.rpartition('/')[2]}")


def follow(config: Config, name: str) -> str:
    """Shows each node of a run as it ends; returns the final state of the run. Raises JobFailed."""
    jobs = client(config, "PipelineService")
    shown: set[str] = set()
    with NodeProgress() as progress:
        for pause in poll_intervals(longest=5.0):
            with cloud_errors(f"Reading the state of {name.rpartition('/')[2]}"):
                job = jobs.get_pipeline_job(name=name, retry=read_retry())
            nodes = _nodes(job)
            for node in nodes:
                state = _state(node)
                if state in SHOWN and node.task_name not in shown:
                    shown.add(node.task_name)
                    progress.ended(node.task_name, SHOWN[state], _seconds(node))
            progress.running([node.task_name for node in nodes if _state(node) == "running"] or [state_of(job)])
            if state_of(job) in ENDED:
                break
            time.sleep(pause)
    if state_of(job) in UNSUCCESSFUL:
        raise failure(config, job)
    return state_of(job)


def output(config: Config, name: str, node: str, key: str) -> str:
    """Returns the address of a node's output `key` in a run that succeeded."""
    with cloud_errors(f"Reading the outputs of {name.rpartition('/')[2]}"):
        job = client(config, "PipelineService").get_pipeline_job(name=name, retry=read_retry())
    (found,) = (task for task in _nodes(job) if task.task_name == node)
    return found.outputs[key].artifacts[0].uri


def failure(config: Config, job: "PipelineJob") -> JobFailed:
    """Returns an error about the node that failed first."""
    failed = [node for node in _nodes(job) if _state(node) == "failed"]
    where = link(config, job.name)
    if not failed:
        return JobFailed(job.display_name, state_of(job), job.error.message, where)
    first = min(failed, key=lambda node: node.end_time.timestamp() if node.end_time else 0)
    return JobFailed(first.task_name, "failed", first.error.message, where)


def _nodes(job: "PipelineJob") -> list["PipelineTaskDetail"]:
    """Returns the tasks in the order of their start, without the one that Vertex AI lists for the whole pipeline."""
    names = job.pipeline_spec["root"]["dag"]["tasks"]
    known = [task for task in job.job_detail.task_details if task.task_name in names]
    return sorted(known, key=lambda task: task.start_time.timestamp() if task.start_time else float("inf"))


def _state(task: "PipelineTaskDetail") -> str:
    return task.state.name.lower()


def _seconds(task: "PipelineTaskDetail") -> float:
    return (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0
