"""Submits pipelines to Vertex AI, each run once: its name depends on what it does."""

import json
import secrets
from typing import TYPE_CHECKING, Any

from pipeline import plan
from pipeline.cloud.calls import converge, read_retry, without_support_warnings
from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.data import reports
from pipeline.data.reports import TrainingReport
from pipeline.errors import InvalidSpec
from pipeline.orchestrators import spec_lint, vertex_job, vertex_request
from pipeline.orchestrators.definitions import AUTOML
from pipeline.orchestrators.vertex_request import Request
from pipeline.outcomes import RetrainingSubmitted, Submission
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob


def send(config: Config, request: Request) -> Submission:
    """Submits a run unless it exists already; one that failed or was cancelled is replaced by another one.

    Of concurrent and repeated calls, one starts the run. Raises InvalidSpec and CloudRefused.
    """
    leaked = list(
        spec_lint.leaked([*map(str, request.values.values()), *request.labels.values()], [config.github_token])
    )
    if leaked:
        raise InvalidSpec(request.pipeline.name, leaked)
    request.pipeline.keep(open_storage(config.workspace))
    jobs = client(config, "PipelineService")
    wanted = _job(config, request)
    for name in request.names():
        job, created = _create(config, jobs, wanted, name)
        state = vertex_job.state_of(job)
        if created or state not in request.replaced:
            return Submission(job.name, state, created, request.pipeline.digest, vertex_job.link(config, job.name))
    raise AssertionError("names do not end")


def _create(config: Config, jobs: Any, wanted: "PipelineJob", name: str) -> tuple["PipelineJob", bool]:
    """Returns the job of this name, and whether it is `wanted` itself and not an earlier one."""
    from google.api_core.exceptions import AlreadyExists

    parent = location(config)

    def step() -> tuple["PipelineJob", bool]:
        try:
            return jobs.create_pipeline_job(parent=parent, pipeline_job=wanted, pipeline_job_id=name, timeout=60), True
        except AlreadyExists:
            existing = jobs.get_pipeline_job(name=f"{parent}/pipelineJobs/{name}", retry=read_retry())
            return existing, existing.labels.get("submission") == wanted.labels["submission"]

    return converge(f"Submitting {name}", step)


def train_once(config: Config, selection: str, modules: Modules, commit: str) -> Submission | None:
    """Submits the pipeline that PIPELINE names; None when the newest span was trained on already, or there is no span.

    What AutoML may cost was checked when the retraining was submitted.
    """
    if not plan.newest_is_untrained(open_storage(config.workspace)):
        return None
    if config.pipeline == AUTOML:
        return send(config, vertex_request.automl(config, selection, commit))
    return send(config, vertex_request.training(config, selection, modules, commit))


def outcome(config: Config, request: Request, job: str) -> TrainingReport | RetrainingSubmitted | None:
    """Returns the outcome of a run that succeeded: of a training its report, None if that was deleted."""
    storage = open_storage(config.workspace)
    if request.identity:
        newest_first = reversed(reports.trainings(storage))
        return next((report for report in newest_first if report.identity == request.identity), None)
    written = vertex_job.output(config, job, "PipelineTrigger", "outcome")
    return RetrainingSubmitted.from_json(json.loads(storage.read(written.removeprefix(f"{config.workspace}/"))))


def _job(config: Config, request: Request) -> "PipelineJob":
    from google.protobuf import json_format

    with without_support_warnings():
        from google.cloud.aiplatform_v1 import PipelineJob

    job = vertex_request.described(config, request)
    # Distinguishes this call's run, whose response was lost, from the run of another caller.
    job["labels"]["submission"] = secrets.token_hex(8)
    return PipelineJob.wrap(json_format.ParseDict(job, PipelineJob.pb(PipelineJob())))
