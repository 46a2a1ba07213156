"""Plans of training runs: all decisions, made before anything slow begins."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.config import Config
from pipeline.data import automl_dataset, reports, spans
from pipeline.data.incoming import collected
from pipeline.data.manifest import name_of
from pipeline.data.span import corrected_up_to
from pipeline.data.spans import Span
from pipeline.errors import BrokenSpan, NoSpans, SpanNotFound, TooFewImages
from pipeline.outcomes import SpanState, states_from_json
from pipeline.packaging import modules
from pipeline.packaging.commit import this_commit
from pipeline.packaging.modules import Modules
from pipeline.releases.base import Releases
from pipeline.releases.factory import releases_of
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage


@dataclasses.dataclass(frozen=True)
class Shape:
    """Which nodes a training has. Everything else is a parameter of the run."""

    baseline: bool = False  # True when there is a current model to compare with
    curated: bool = False  # True when the modules bring a schema
    tune: bool = False
    device: bool = False  # True when a model for devices is trained, too
    device_baseline: bool = False  # True when the current release has one to compare with
    on_vertex: bool = False  # False: node after node in this process


@dataclasses.dataclass(frozen=True)
class Plan:
    """A planned training. Equal plans give the same model: `identity` names its release, `weights` its checkpoints."""

    spans: tuple[int, ...]
    labels: tuple[str, ...]
    fingerprint: str  # sha256 of the contents of the spans
    modules: Modules
    seed: int
    tune: bool
    current: str  # tag of the release that the new model is compared with, "" when there is none
    commit: str  # of this repository, "" where it is not known
    data: Mapping[str, SpanState] = dataclasses.field(default_factory=dict)  # {number: what the span holds}
    device: bool = False  # whether a model for devices is trained, too
    quantization: str = ""  # of the device model, "" for the one that the modules name
    current_device: bool = False  # whether the release that is compared with has one

    @property
    def identity(self) -> str:
        """sha256 of everything that decides the result; the commit does not, the modules' digest does."""
        decisive = [*self._trained_on, self.current, *(["device", self.quantization] if self.device else [])]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    @property
    def weights(self) -> str:
        """sha256 of what decides the weights: not what they are compared with or converted to."""
        return hashlib.sha256(json.dumps(self._trained_on).encode()).hexdigest()

    @property
    def _trained_on(self) -> list:
        return [self.spans, self.fingerprint, self.modules.digest, self.seed, self.tune]

    @property
    def shape(self) -> Shape:
        """The nodes of this training on this machine."""
        return Shape(
            baseline=bool(self.current),
            curated=bool(self.modules.schema),
            tune=self.tune,
            device=self.device,
            device_baseline=self.current_device,
        )


@dataclasses.dataclass(frozen=True)
class AutomlPlan:
    """A planned run of the AutoML pipeline, which trains both models: `identity` names its release."""

    spans: tuple[int, ...]
    labels: tuple[str, ...]
    fingerprint: str  # sha256 of the contents of the spans
    data: Mapping[str, SpanState]  # {number: what the span holds}
    edge_model: str  # type of the device model
    cloud_budget: int  # milli node hours; so is the other one
    edge_budget: int
    current: str  # tag of the release that the new models are compared with, "" when there is none

    @property
    def identity(self) -> str:
        """sha256 of everything that decides the result."""
        trained_on = [self.spans, self.fingerprint, self.edge_model, self.cloud_budget, self.edge_budget]
        return hashlib.sha256(json.dumps(["automl", *trained_on, self.current]).encode()).hexdigest()

    def chosen(self, workspace: Storage) -> list[Span]:
        """Returns the spans as they were when the run was planned. Raises SpanNotFound or BrokenSpan."""
        published = {span.number: span for span in spans.published(workspace)}
        if missing := set(self.spans).difference(published):
            raise SpanNotFound(missing, published)
        found = [corrected_up_to(published[number], self.data[str(number)].corrections) for number in self.spans]
        for span in found:
            if span.digest != self.data[str(span.number)].digest:
                raise BrokenSpan(name_of(span.number), "it is not what it was when the run was planned")
        return found

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "AutomlPlan":
        """Returns the plan that `to_json` wrote."""
        read = json.loads(text)
        data = {"data": states_from_json(read["data"])}
        return cls(**read | {name: tuple(read[name]) for name in ("spans", "labels")} | data)


def training(config: Config, selection: str, given: Modules | None = None, commit: str | None = None) -> Plan:
    """Plans a training on `selection` ("1,2 | all | latest:N"). Raises UsageError, NoSpans or TooFewImages.

    Without `given` modules and `commit`, those of this working directory count.
    """
    chosen = _chosen(config, selection)
    _check(chosen)
    plan = Plan(
        **_contents(chosen),
        modules=given or modules.find(config.modules, sys.path),
        seed=config.seed,
        tune=config.tune,
        current="",
        commit=this_commit() if commit is None else commit,
        device=config.device_model,
        quantization=config.device_quantization,
    )
    releases = releases_of(config)
    current = _current(plan, releases)
    pair = plan.device and bool(current) and releases.get(current).device is not None
    return dataclasses.replace(plan, current=current, current_device=pair)


def next_training(config: Config, given: Modules) -> tuple[Shape, str]:
    """Returns the nodes of a training whose spans are not made yet, and the tag that it compares with, "" for none."""
    newest = releases_of(config).newest()
    shape = Shape(
        baseline=newest is not None,
        curated=bool(given.schema),
        tune=config.tune,
        device=config.device_model,
        device_baseline=config.device_model and newest is not None and newest.device is not None,
    )
    return shape, newest.tag if newest else ""


def automl(config: Config, selection: str) -> AutomlPlan:
    """Plans a run of the AutoML pipeline on `selection`. Raises UsageError, NoSpans or InvalidDataset."""
    chosen = _chosen(config, selection)
    automl_dataset.check(chosen)
    plan = AutomlPlan(
        **_contents(chosen),
        edge_model=config.automl_edge_model,
        cloud_budget=config.automl_cloud_budget,
        edge_budget=config.automl_edge_budget,
        current="",
    )
    return dataclasses.replace(plan, current=_current(plan, releases_of(config)))


def _chosen(config: Config, selection: str) -> list[Span]:
    published = spans.published(open_storage(config.workspace))
    numbers = spans.select(selection, published)
    if not numbers:
        raise NoSpans(config.workspace)
    return [span for span in published if span.number in numbers]


def _contents(chosen: list[Span]) -> dict[str, Any]:
    """Returns the fields of a plan that say what it trains on."""
    return {
        "spans": tuple(span.number for span in chosen),
        "labels": tuple(sorted({label for span in chosen for label in span.labels})),
        "fingerprint": hashlib.sha256("".join(span.digest for span in chosen).encode()).hexdigest(),
        "data": {str(span.number): SpanState(span.digest, span.corrections.last) for span in chosen},
    }


def newest_is_untrained(storage: Storage) -> bool:
    """True when there is a span, and no training that included the newest one has ended yet."""
    published = spans.published(storage)
    return bool(published) and not reports.is_trained(published[-1], reports.trained_digests(storage))


def span_to_retrain(storage: Storage) -> int | None:
    """Returns the number of the span that a retraining makes or finds untrained; None when there is nothing to do."""
    newest = max((span.number for span in spans.published(storage)), default=0)
    if collected.count_up_to(storage, 1):
        return newest + 1
    return newest if newest_is_untrained(storage) else None


def _check(chosen: list[Span]) -> None:
    numbers = [span.number for span in chosen]
    labels = {label for span in chosen for label in span.labels}
    if len(labels) < 2:
        raise TooFewImages(numbers, f"only the label {labels.pop()!r}: a classifier needs at least two")
    for split, purpose in (("train", "training"), ("eval", "evaluation")):
        if not any(span.count(split) for span in chosen):
            what = f"no image for {purpose}: about one in five is for evaluation, the others are for training"
            raise TooFewImages(numbers, what)


def _current(plan: Plan | AutomlPlan, releases: Releases) -> str:
    """Returns the newest release's tag; if this very plan made that release, the tag that it was compared with.

    So the same training, started again, compares with the same model, comes to the same decision, and finds it cached.
    """
    newest = releases.newest()
    if newest is None:
        return ""
    before = newest.previous or ""
    return before if dataclasses.replace(plan, current=before).identity == newest.identity else newest.tag
