"""Runs on Vertex AI so far, and what they show of the next one: which nodes are cached, how long each takes.

A job is the JSON of a PipelineJob: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.cloud.rest import NoAnswer, Rest, rest_errors
from pipeline.cloud.vertex import location
from pipeline.config import Config
from pipeline.orchestrators.spec_lint import containers

Job = Mapping[str, Any]
NEWEST = 5  # runs that are read
DONE = frozenset({"SUCCEEDED", "SKIPPED"})  # states of nodes with outputs; the latter were cached themselves


def newest(rest: Rest, config: Config, pipeline: str) -> list[Job]:
    """Returns the newest runs of a pipeline, newest first. Raises CloudRefused."""
    with rest_errors(f"Looking for the last run of {pipeline}"):
        query = {"filter": f'labels.pipeline="{pipeline}"', "orderBy": "create_time desc", "readMask": "name"}
        listed = rest.get(f"{_url(config)}/pipelineJobs", pageSize=str(NEWEST), **query).get("pipelineJobs", [])
        # a list has no details of nodes
        return [rest.get(f"{_url(config)}/pipelineJobs/{id_of(job)}") for job in listed]


def find(rest: Rest, config: Config, name: str) -> Job | None:
    """Returns the run of an ID, None where there is none. Raises CloudRefused."""
    with rest_errors(f"Looking for {name}"):
        try:
            return rest.get(f"{_url(config)}/pipelineJobs/{name}")
        except NoAnswer as refused:
            if refused.status == 404:
                return None
            raise


def _url(config: Config) -> str:
    return f"https://{config.region}-aiplatform.googleapis.com/v1/{location(config)}"


def id_of(job: Job) -> str:
    """Returns the last part of the name of a run."""
    return job["name"].rpartition("/")[2]


def state_of(job: Job) -> str:
    """Returns "pending", "running", "succeeded", "failed" and so on."""
    return job["state"].removeprefix("PIPELINE_STATE_").lower()


def cached_nodes(wanted: Job, past: Sequence[Job]) -> list[str]:
    """Returns the nodes that Vertex AI will probably take from its cache, in the order of the pipeline.

    By the rules of https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching: inputs, outputs and container
    are those of a node that succeeded. It cannot be certain, because artifacts may have been deleted since.
    """
    found = max((_equal_nodes(wanted, before) for before in past), key=len, default=set())
    return [name for name in wanted["pipelineSpec"]["root"]["dag"]["tasks"] if name in found]


def _equal_nodes(wanted: Job, before: Job) -> set[str]:
    """Returns the nodes of `wanted` whose outputs the run `before` has made."""
    done = {name for name, task in _tasks(before) if task["state"] in DONE}
    new, old = _described(wanted), _described(before)
    candidates = {
        name: task
        for name, task in wanted["pipelineSpec"]["root"]["dag"]["tasks"].items()
        if task.get("cachingOptions", {}).get("enableCache") and name in done and new[name] == old.get(name)
    }
    found: set[str] = set()
    while ready := [name for name, task in candidates.items() if name not in found and _producers(task) <= found]:
        found.update(ready)
    return found


def _described(job: Job) -> dict[str, list[Any]]:
    """Returns what decides the outputs of each node, but for the artifacts that it gets."""
    spec, values = job["pipelineSpec"], job.get("runtimeConfig", {}).get("parameterValues", {})
    running, found = dict(containers(spec)), {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        inputs = task.get("inputs", {})
        given = {
            key: values.get(source["componentInputParameter"]) if "componentInputParameter" in source else source
            for key, source in inputs.get("parameters", {}).items()
        }
        component = spec["components"][task["componentRef"]["name"]]
        # the component names its executor, which two equal components number differently
        interface = [component.get(part) for part in ("inputDefinitions", "outputDefinitions")]
        found[name] = [interface, running.get(name), inputs.get("artifacts", {}), given]
    return found


def _producers(task: Mapping[str, Any]) -> set[str]:
    """Returns the nodes whose outputs a node takes."""
    inputs = task.get("inputs", {})
    artifacts = [source.get("taskOutputArtifact", {}) for source in inputs.get("artifacts", {}).values()]
    parameters = [source.get("taskOutputParameter", {}) for source in inputs.get("parameters", {}).values()]
    return {source["producerTask"] for source in [*artifacts, *parameters] if "producerTask" in source}


def seconds(past: Sequence[Job]) -> dict[str, float]:
    """Returns {node: how long it took} in the newest run in which it ran, for each node that ran."""
    found: dict[str, float] = {}
    for job in past:
        for name, task in _tasks(job):
            if task["state"] == "SUCCEEDED" and {"startTime", "endTime"} <= task.keys():
                found.setdefault(name, (_time(task["endTime"]) - _time(task["startTime"])).total_seconds())
    return found


def _tasks(job: Job) -> Iterator[tuple[str, Mapping[str, Any]]]:
    nodes = job["pipelineSpec"]["root"]["dag"]["tasks"]
    for task in job.get("jobDetail", {}).get("taskDetails", []):
        if task.get("taskName") in nodes and "state" in task:
            yield task["taskName"], task


def _time(text: str) -> datetime.datetime:
    """Reads a time of an API to the second; fractions have up to nine digits."""
    return datetime.datetime.fromisoformat(text[: len("2026-11-27T18:00:00")])
