"""Submits the pipelines to Vertex AI: what is asked for has a name, and what has been asked for is not asked again."""

import dataclasses
import hashlib
import itertools
import json
import secrets
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pipeline import compiled, image, plan, spec_lint, vertex_job, wheel
from pipeline.cloud_calls import converge, quietly, reading, told
from pipeline.compiled import RETRAINING, TRAINING, Compiled
from pipeline.config import Config
from pipeline.data.storage import Storage, open_storage
from pipeline.errors import UnfitImage, UnfitSpec, UnsetParameters, numbers
from pipeline.modules import Modules
from pipeline.plan import Shape
from pipeline.vertex_api import client, encryption, label, location

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

NEEDED = ("workspace", "project", "region", "image", "service_account")


@dataclasses.dataclass(frozen=True)
class Request:
    """A run that is wanted: what Vertex AI is asked for, and by which name."""

    pipeline: Compiled
    about: str  # for people: "training on spans 1-3"
    values: Mapping[str, str]  # of all root parameters
    labels: Mapping[str, str]
    root: str  # where nodes write
    over: frozenset[str]  # states of an earlier run of this name that call for another one

    @property
    def name(self) -> str:
        """What the run does, as an ID: the same compiled pipeline with the same values has the same one.

        The commit is told, but decides nothing: what it changes is in the image or in the modules.
        """
        decisive = [value for value in self.values.items() if value[0] != "commit"]
        what = json.dumps([self.pipeline.digest, sorted(decisive), self.labels["spans"]])
        return f"{self.pipeline.name}-{hashlib.sha256(what.encode()).hexdigest()[:20]}"


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A run on Vertex AI. Without `job` there was nothing to do."""

    job: str  # resource name
    state: str  # such as "running"
    submitted: bool  # False when it was there already
    digest: str  # of the compiled pipeline
    link: str  # for people


NOTHING = Submitted("", "", False, "", "")


def submit(config: Config, name: str, selection: str) -> Submitted:
    """Submits the pipeline `name` for `selection` ("1,2 | all | latest:N") with the modules as they are here.

    Raises MissingSettings, and what planning, copying the modules and compiling do; UnfitImage; CloudRefused.
    """
    request = prepare(config, name, selection)
    return send(config, request) if request else NOTHING


def prepare(config: Config, name: str, selection: str) -> Request | None:
    """Returns what `submit` asks for, None when there is nothing to do; copies the modules to the workspace."""
    config.require(*NEEDED)
    storage = open_storage(config.workspace)
    if name == RETRAINING and plan.span_to_retrain(storage) is None:
        return None
    if name == TRAINING:
        plan.training(config, selection)  # what cannot be is refused before anything is copied
    check_image(config, storage)
    make = _training if name == TRAINING else _retraining
    return make(config, selection, wheel.copy(config), plan.this_commit())


def train_once(config: Config, selection: str, modules: Modules, commit: str) -> dict[str, Any]:
    """Submits the training pipeline, unless a training that included the newest span has ended already.

    Returns `job`, `state` and `submitted`; of spans that were trained on already, or are not there, empty values.
    """
    storage = open_storage(config.workspace)
    done = NOTHING
    if plan.newest_is_untrained(storage):
        done = send(config, _training(config, selection, modules, commit))
    return {"job": done.job or None, "state": done.state or None, "submitted": done.submitted}


def check_image(config: Config, storage: Storage) -> None:
    """Raises UnfitImage unless the image was built with the TFX and the Python that compile here."""
    built = image.record(storage, config.image)
    if not built:
        raise UnfitImage(config.image, f"is not known to {storage.address()}: nothing says what is in it")
    here = {"tfx": metadata.version("tfx"), "python": ".".join(map(str, sys.version_info[:2]))}
    there = {"tfx": built.tfx, "python": built.python}
    if there != here:
        has, wants = (f"TFX {found['tfx']} on Python {found['python']}" for found in (there, here))
        raise UnfitImage(config.image, f"has {has}, but the pipeline is compiled by {wants}")


def _training(config: Config, selection: str, modules: Modules, commit: str) -> Request:
    planned = plan.training(config, selection, modules, commit)
    pipeline = compiled.compile_pipeline(config, TRAINING, planned.shape)
    from pipeline import training  # TFX is imported by now

    root = _root(config, TRAINING)
    spans = numbers(planned.spans)
    return Request(
        pipeline=pipeline,
        about=f"training on span{'s' * (len(planned.spans) > 1)} {spans}",
        values=_given(pipeline, training.values(config, planned, root)),
        labels=_labels(config, pipeline, modules, commit, spans),
        root=root,
        over=vertex_job.UNSUCCESSFUL,
    )


def _retraining(config: Config, selection: str, modules: Modules, commit: str) -> Request:
    pipeline = compiled.compile_pipeline(config, RETRAINING, Shape())
    from pipeline import retraining

    span = plan.span_to_retrain(open_storage(config.workspace))
    return Request(
        pipeline=pipeline,
        about=f"retraining for span {span}",
        values=_given(pipeline, retraining.values(config, selection, modules, commit)),
        labels=_labels(config, pipeline, modules, commit, str(span)),
        root=_root(config, RETRAINING),
        # there is work to be done, so one that ended has not done it
        over=vertex_job.ENDED,
    )


def _root(config: Config, name: str) -> str:
    return f"{config.workspace}/pipeline_root/{name}"


def _given(pipeline: Compiled, values: Mapping[str, str]) -> dict[str, str]:
    """Returns a value for each root parameter: Vertex AI gives none of its own. Raises UnsetParameters."""
    unset = set(pipeline.parameters).difference(values)
    if unset:
        raise UnsetParameters(pipeline.name, sorted(unset))
    return {name: values[name] for name in pipeline.parameters}


def _labels(config: Config, pipeline: Compiled, modules: Modules, commit: str, spans: str) -> dict[str, str]:
    named = {
        "pipeline": pipeline.name,
        "spans": spans.replace(", ", "_"),
        "commit": commit or "unknown",
        "modules": modules.digest,
        "compiled": pipeline.digest,
        "image": config.image.partition("@sha256:")[2],
    }
    return {name: label(text) for name, text in named.items()}


def send(config: Config, request: Request) -> Submitted:
    """Asks Vertex AI for a run, unless it is there already. One that failed or was cancelled is followed by another.

    Of several who ask at once, and of repeated calls, one starts the run. Raises UnfitSpec and CloudRefused.
    """
    leaked = list(spec_lint.leaked([*request.values.values(), *request.labels.values()], [config.github_token]))
    if leaked:
        raise UnfitSpec(request.pipeline.name, leaked)
    request.pipeline.keep(open_storage(config.workspace))
    jobs = client(config, "PipelineService")
    # Tells our own run, whose answer was lost, from one that somebody else asked for.
    wanted = _job(config, request, {"submission": secrets.token_hex(8)})
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
            there = jobs.get_pipeline_job(name=f"{parent}/pipelineJobs/{name}", retry=reading())
            return there, there.labels.get("submission") == wanted.labels["submission"]

    return converge(f"Submitting {name}", step)


def _job(config: Config, request: Request, more_labels: Mapping[str, str]) -> "PipelineJob":
    from google.protobuf import json_format

    with quietly():
        from google.cloud.aiplatform_v1 import PipelineJob

    job = described(config, request)
    job["labels"].update(more_labels)
    return PipelineJob.wrap(json_format.ParseDict(job, PipelineJob.pb(PipelineJob())))


def described(config: Config, request: Request) -> dict[str, Any]:
    """Returns the PipelineJob that Vertex AI is asked for, as JSON has it."""
    job = {
        "displayName": request.about,
        "pipelineSpec": request.pipeline.spec,
        "labels": dict(request.labels),
        "runtimeConfig": {
            "gcsOutputDirectory": request.root,
            "parameterValues": dict(request.values),
            "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",  # nothing that comes after a failed node is of use
        },
        "serviceAccount": config.service_account,
    }
    if config.network:
        job["network"] = config.network
    if key := encryption(config):
        job["encryptionSpec"] = {"kmsKeyName": key["kms_key_name"]}
    return job


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
    with told(f"Looking for the last run of {name}"):
        newest = next(iter(jobs.list_pipeline_jobs(asked, retry=reading())), None)
    return json_format.MessageToDict(type(newest).pb(newest)) if newest else None
