"""What Vertex AI is asked for: a compiled pipeline, a value for each parameter, labels, and a name that follows."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from pipeline import plan
from pipeline.cloud.vertex import encryption, label_value
from pipeline.config import Config
from pipeline.errors import ConfigError, IncompatibleImage, UnsetParameters, numbers
from pipeline.orchestrators import compiled, definitions, vertex_job
from pipeline.orchestrators.compiled import Compiled
from pipeline.orchestrators.definitions import RETRAINING, TRAINING
from pipeline.packaging import image, wheel
from pipeline.packaging.commit import this_commit
from pipeline.packaging.modules import Modules
from pipeline.plan import Shape
from pipeline.releases.factory import GITHUB
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

NEEDED = ("workspace", "project", "region", "service_account")


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
        # The spans tell one retraining from the next: its values are the same each time.
        what = json.dumps([self.pipeline.digest, sorted(decisive), self.labels["spans"]])
        return f"{self.pipeline.name}-{hashlib.sha256(what.encode()).hexdigest()[:20]}"


def prepare(config: Config, name: str, selection: str) -> Request | None:
    """Returns a request for the pipeline `name` on `selection` ("1,2 | all | latest:N"), None with nothing to do.

    Copies the modules, as they are here, to the workspace. The image is the one that was built of the code as it is
    here, unless the settings name one. Raises MissingSettings, ConfigError, IncompatibleImage, and what
    copying, planning and compiling do.
    """
    config.require(*NEEDED, *([] if config.image else ["image_repository"]))
    storage = open_storage(config.workspace)
    span = plan.span_to_retrain(storage) if name == RETRAINING else 0
    if span is None:
        return None
    if config.releases.startswith(GITHUB):
        config.require("release_token_secret")
    elif "://" not in config.releases:
        expected = "gs://bucket/prefix or github:owner/name: Vertex AI does not see this machine"
        raise ConfigError("RELEASES", config.releases, expected)
    config = with_image(config)
    check_image(config, storage)
    modules, commit = wheel.copy(config), this_commit()
    if name == RETRAINING:
        return _retraining(config, selection, modules, commit, span)
    return training(config, selection, modules, commit)


def training(config: Config, selection: str, modules: Modules, commit: str) -> Request:
    """Returns a request for a training with these modules, which lie in a wheel. Raises what plan.training does."""
    planned = plan.training(config, selection, modules, commit)
    pipeline = compiled.compile_pipeline(config, TRAINING, planned.shape)
    root = _root(config, TRAINING)
    spans = numbers(planned.spans)
    return Request(
        pipeline=pipeline,
        about=f"training on span{'s' * (len(planned.spans) > 1)} {spans}",
        values=_values(pipeline, definitions.load(TRAINING).parameters(config, planned, root)),
        labels=_labels(config, pipeline, modules, commit, spans),
        root=root,
        over=vertex_job.UNSUCCESSFUL,
    )


def _retraining(config: Config, selection: str, modules: Modules, commit: str, span: int) -> Request:
    pipeline = compiled.compile_pipeline(config, RETRAINING, Shape())
    return Request(
        pipeline=pipeline,
        about=f"retraining for span {span}",
        values=_values(pipeline, definitions.load(RETRAINING).parameters(config, selection, modules, commit)),
        labels=_labels(config, pipeline, modules, commit, str(span)),
        root=_root(config, RETRAINING),
        # there is work to be done, so one that ended has not done it
        over=vertex_job.ENDED,
    )


def _root(config: Config, name: str) -> str:
    return f"{config.workspace}/pipeline_root/{name}"


def _values(pipeline: Compiled, parameters: Any) -> dict[str, str]:
    """Returns a value for each root parameter of the compiled pipeline: Vertex AI has no defaults for them.

    Raises UnsetParameters.
    """
    values = dataclasses.asdict(parameters)
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
    return {name: label_value(text) for name, text in named.items()}


def with_image(config: Config) -> Config:
    """Returns settings that name an image. Raises IncompatibleImage (none was built of this code), MissingSettings."""
    if config.image:
        return config
    if not (config.in_cloud and config.image_repository):
        config.require("image")
    built = image.of_this_code(config)
    if not built:
        raise IncompatibleImage("not set", f"would be the image of this code, but {config.workspace} knows of none")
    return dataclasses.replace(config, image=built.image)


def check_image(config: Config, storage: Storage) -> None:
    """Raises IncompatibleImage unless the image was built with the TFX and the Python that compile here."""
    built = image.record(storage, config.image)
    if not built:
        raise IncompatibleImage(config.image, f"is not known to {storage.address()}: nothing says what is in it")
    here = {"tfx": metadata.version("tfx"), "python": ".".join(map(str, sys.version_info[:2]))}
    there = {"tfx": built.tfx, "python": built.python}
    if there != here:
        has, wants = (f"TFX {found['tfx']} on Python {found['python']}" for found in (there, here))
        raise IncompatibleImage(config.image, f"has {has}, but the pipeline is compiled by {wants}")


def described(config: Config, request: Request) -> dict[str, Any]:
    """Returns the PipelineJob that is asked for, as JSON has it."""
    job = {
        "displayName": request.about[:128],
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
