"""Submits the pipelines to Vertex AI: what has been asked for by its name is not asked for again."""

import dataclasses
import itertools
import json
import secrets
from typing import TYPE_CHECKING, Any

from pipeline import plan
from pipeline.cloud.calls import cloud_errors, converge, read_retry, without_support_warnings
from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.data import reports
from pipeline.errors import InvalidSpec
from pipeline.orchestrators import spec_lint, vertex_job, vertex_request
from pipeline.orchestrators.definitions import TRAINING
from pipeline.orchestrators.vertex_request import Request
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A run on Vertex AI."""

    job: str  # resource name
    state: str  # such as "running"
    submitted: bool  # False when it was there already
    digest: str  # of the compiled pipeline
    link: str  # for people


def send(config: Config, request: Request) -> Submitted:
    """Asks Vertex AI for a run, unless it is there already. One that failed or was cancelled is followed by another.

    Of several who ask at once, and of repeated calls, one starts the run. Raises InvalidSpec and CloudRefused.
    """
    leaked = list(spec_lint.leaked([*request.values.values(), *request.labels.values()], [config.github_token]))
    if leaked:
        raise InvalidSpec(request.pipeline.name, leaked)
    request.pipeline.keep(open_storage(config.workspace))
    jobs = client(config, "PipelineService")
    wanted = _job(config, request)
    for attempt in itertools.count(1):
        name = request.name if attempt == 1 else f"{request.name}-{attempt}"
        job, ours = _create(config, jobs, wanted, name)
        state = vertex_job.state_of(job)
        if ours or state not in request.over:
            return Submitted(job.name, state, ours, request.pipeline.digest, vertex_job.link(config, job.name))
    raise AssertionError("there is no last number")


def _create(config: Config, jobs: Any, wanted: "PipelineJob", name: str) -> tuple["PipelineJob", bool]:
    """Returns the job of this name, and whether it is the one that is `wanted`."""
    from google.api_core.exceptions import AlreadyExists

    parent = location(config)

    def step() -> tuple["PipelineJob", bool]:
        try:
            return jobs.create_pipeline_job(parent=parent, pipeline_job=wanted, pipeline_job_id=name, timeout=60), True
        except AlreadyExists:
            there = jobs.get_pipeline_job(name=f"{parent}/pipelineJobs/{name}", retry=read_retry())
            return there, there.labels.get("submission") == wanted.labels["submission"]

    return converge(f"Submitting {name}", step)


def train_once(config: Config, selection: str, modules: Modules, commit: str) -> dict[str, Any]:
    """Submits the training pipeline, unless a training that included the newest span has ended already.

    Returns `job`, `state`, `submitted` and `link`; of spans that were trained on already, or are not there, nothing but
    empty values.
    """
    if not plan.newest_is_untrained(open_storage(config.workspace)):
        return dict.fromkeys(STARTED) | {"submitted": False}
    done = send(config, vertex_request.training(config, selection, modules, commit))
    return {name: getattr(done, name) for name in STARTED}


def outcome(config: Config, request: Request, job: str) -> dict[str, Any]:
    """Returns what came of a run that succeeded, by its resource name.

    Of a training what it has reported, as `train` returns it; of a retraining what SpanPreparator found, and as
    `training` what `train_once` returned.
    """
    storage = open_storage(config.workspace)
    if request.pipeline.name == TRAINING:
        told_of = reversed(reports.every(storage, "training"))
        return next((told for told in told_of if told.get("identity") == request.values["identity"]), {})
    written = vertex_job.output(config, job, "PipelineTrigger", "outcome")
    found = json.loads(storage.read(written.removeprefix(f"{config.workspace}/")))
    training = {name: found.pop(name) for name in STARTED}
    return found | {"training": training}


STARTED = ("job", "state", "submitted", "link")


def last(config: Config, name: str) -> dict[str, Any] | None:
    """Returns the newest run of the pipeline `name` as JSON has it, None before the first."""
    from google.protobuf import json_format

    jobs = client(config, "PipelineService")
    asked = {
        "parent": location(config),
        "filter": f'labels.pipeline="{name}"',
        "order_by": "create_time desc",
        "page_size": 1,
    }
    with cloud_errors(f"Looking for the last run of {name}"):
        newest = next(iter(jobs.list_pipeline_jobs(asked, retry=read_retry())), None)
    return json_format.MessageToDict(type(newest).pb(newest)) if newest else None


def _job(config: Config, request: Request) -> "PipelineJob":
    from google.protobuf import json_format

    with without_support_warnings():
        from google.cloud.aiplatform_v1 import PipelineJob

    job = vertex_request.described(config, request)
    # Tells our own run, whose answer was lost, from one that somebody else asked for.
    job["labels"]["submission"] = secrets.token_hex(8)
    return PipelineJob.wrap(json_format.ParseDict(job, PipelineJob.pb(PipelineJob())))
