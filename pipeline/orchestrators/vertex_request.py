"""Requests for runs on Vertex AI: a compiled pipeline, its parameters, labels, and the name that follows from them."""

import dataclasses
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from pipeline import plan
from pipeline.cloud import automl_prices, machines
from pipeline.cloud.vertex import encryption, label_value
from pipeline.config import Config
from pipeline.errors import ConfigError, IncompatibleImage, UnsetParameters, numbers
from pipeline.orchestrators import compiled, definitions, vertex_job
from pipeline.orchestrators.compiled import Compiled
from pipeline.orchestrators.definitions import AUTOML, RETRAINING, TRAINING
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
    """A run to be submitted."""

    pipeline: Compiled
    about: str  # for people: "training on spans 1-3"
    values: Mapping[str, str | int]  # of all root parameters
    labels: Mapping[str, str]
    root: str  # pipeline root, where nodes write
    replaced: frozenset[str]  # states in which an earlier run of this name is replaced by another one
    identity: str = ""  # of what it trains, "" for a retraining, which only starts a training
    current: str = ""  # tag of the release that a training compares with, "" without one

    def names(self) -> Iterator[str]:
        """Yields the IDs that the run may have: a further one for each earlier run that is replaced."""
        yield self.name
        yield from (f"{self.name}-{attempt}" for attempt in itertools.count(2))

    @property
    def name(self) -> str:
        """ID of the run: the same compiled pipeline with the same values has the same one.

        The commit is a value of the run, but does not count: what it changes is in the image or in the modules.
        """
        decisive = [value for value in self.values.items() if value[0] != "commit"]
        # Retrainings differ in their span alone: their values are the same each time.
        what = json.dumps([self.pipeline.digest, sorted(decisive), self.labels["spans"]])
        return f"{self.pipeline.name}-{hashlib.sha256(what.encode()).hexdigest()[:20]}"


def prepare(config: Config, name: str, selection: str, copy: bool = True, accepted: bool = False) -> Request | None:
    """Returns a request for the pipeline `name` on `selection` ("1,2 | all | latest:N"), None with nothing to do.

    Copies the local modules to the workspace unless `copy` is false, and writes nothing else. Uses the image that was
    built of the local code, unless the settings name one. `accepted`: AutoML may cost more than AUTOML_MOST_DOLLARS.
    Raises MissingSettings, ConfigError, TooExpensive, IncompatibleImage, and what copying, planning and compiling do.
    """
    if name == AUTOML or name == RETRAINING and config.pipeline == AUTOML:
        automl_prices.check(config, accepted)
    config.require(*NEEDED, *([] if config.image else ["image_repository"]))
    machines.check(config)
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
    if name == AUTOML:
        return automl(config, selection, this_commit())
    modules, commit = wheel.copy(config) if copy else wheel.locate(config)[0], this_commit()
    if name == RETRAINING:
        return _retraining(config, selection, modules, commit, span)
    return training(config, selection, modules, commit)


def training(config: Config, selection: str, modules: Modules, commit: str) -> Request:
    """Returns a request for a training with modules from a wheel. Raises what plan.training does."""
    planned = plan.training(config, selection, modules, commit)
    pipeline = compiled.compile_pipeline(config, TRAINING, planned.shape)
    root = _root(config, TRAINING)
    spans = numbers(planned.spans)
    return Request(
        pipeline=pipeline,
        about=f"training on span{'s' * (len(planned.spans) > 1)} {spans}",
        values=_values(pipeline, definitions.load(TRAINING).parameters(config, planned, root)),
        labels=_labels(config, pipeline, modules.digest, commit, spans),
        root=root,
        replaced=vertex_job.UNSUCCESSFUL,
        identity=planned.identity,
        current=planned.current,
    )


def automl(config: Config, selection: str, commit: str) -> Request:
    """Returns a request for a run of the AutoML pipeline. Raises what plan.automl does."""
    planned = plan.automl(config, selection)
    pipeline = compiled.compile_pipeline(config, AUTOML, Shape())
    root = _root(config, AUTOML)
    spans = numbers(planned.spans)
    dollars = automl_prices.most_dollars(config)
    return Request(
        pipeline=pipeline,
        about=f"AutoML training on span{'s' * (len(planned.spans) > 1)} {spans} for at most ${dollars:,.2f}",
        values=_values(pipeline, definitions.load_automl().parameters(config, planned, commit, root)),
        labels=_labels(config, pipeline, "", commit, spans),
        root=root,
        replaced=vertex_job.UNSUCCESSFUL,
        identity=planned.identity,
        current=planned.current,
    )


def _retraining(config: Config, selection: str, modules: Modules, commit: str, span: int) -> Request:
    pipeline = compiled.compile_pipeline(config, RETRAINING, Shape())
    return Request(
        pipeline=pipeline,
        about=f"retraining for span {span}",
        values=_values(pipeline, definitions.load(RETRAINING).parameters(config, selection, modules, commit)),
        labels=_labels(config, pipeline, modules.digest, commit, str(span)),
        root=_root(config, RETRAINING),
        # there is something to do, so a run that has ended did not do it
        replaced=vertex_job.ENDED,
    )


def _root(config: Config, name: str) -> str:
    return f"{config.workspace}/pipeline_root/{name}"


def _values(pipeline: Compiled, parameters: Any) -> dict[str, str | int]:
    """Returns a value for each root parameter of the compiled pipeline: Vertex AI has no defaults for them.

    Raises UnsetParameters.
    """
    values = dataclasses.asdict(parameters)
    unset = set(pipeline.parameters).difference(values)
    if unset:
        raise UnsetParameters(pipeline.name, sorted(unset))
    return {name: values[name] for name in pipeline.parameters}


def _labels(config: Config, pipeline: Compiled, modules_digest: str, commit: str, spans: str) -> dict[str, str]:
    named = {
        "pipeline": pipeline.name,
        "spans": spans.replace(", ", "_"),
        "commit": commit or "unknown",
        "modules": modules_digest,
        "compiled": pipeline.digest,
        "image": config.image.partition("@sha256:")[2],
    }
    return {name: label_value(text) for name, text in named.items() if text}


def with_image(config: Config) -> Config:
    """Returns settings that name an image. Raises IncompatibleImage (none was built of this code), MissingSettings."""
    if config.image:
        return config
    if not (config.in_cloud and config.image_repository):
        config.require("image")
    built = image.of_this_code(config)
    if not built:
        raise IncompatibleImage(
            "not set", f"defaults to the image of this code, but {config.workspace} has a record of none"
        )
    return dataclasses.replace(config, image=built.image)


def check_image(config: Config, storage: Storage) -> None:
    """Raises IncompatibleImage unless the image was built with the TFX and the Python that compile here."""
    built = image.record(storage, config.image)
    if not built:
        raise IncompatibleImage(config.image, f"has no record in {storage.address()}, so its contents are not known")
    local = f"TFX {metadata.version('tfx')} on Python {'.'.join(map(str, sys.version_info[:2]))}"
    remote = f"TFX {built.tfx} on Python {built.python}"
    if remote != local:
        raise IncompatibleImage(config.image, f"has {remote}, but the pipeline is compiled by {local}")


def described(config: Config, request: Request) -> dict[str, Any]:
    """Returns the request as the JSON of a PipelineJob."""
    job = {
        "displayName": request.about[:128],
        "pipelineSpec": request.pipeline.spec,
        "labels": dict(request.labels),
        "runtimeConfig": {
            "gcsOutputDirectory": request.root,
            "parameterValues": dict(request.values),
            "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",  # without a failed node the others are of no use
        },
        "serviceAccount": config.service_account,
    }
    if config.network:
        job["network"] = config.network
    if key := encryption(config):
        job["encryptionSpec"] = {"kmsKeyName": key["kms_key_name"]}
    return job
