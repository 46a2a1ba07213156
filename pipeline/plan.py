"""What a training run is going to do, decided before anything slow begins."""

import dataclasses
import hashlib
import json
import sys

from pipeline.config import Config
from pipeline.data import collected, reports, spans
from pipeline.data.spans import Span
from pipeline.errors import NoSpans, TooFewImages
from pipeline.packaging import modules
from pipeline.packaging.commit import this_commit
from pipeline.packaging.modules import Modules
from pipeline.releases.base import Releases
from pipeline.releases.factory import releases_of
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage


@dataclasses.dataclass(frozen=True)
class Shape:
    """Which nodes a training has. All else that a run needs is text that is given when it starts."""

    baseline: bool = False  # whether a current model is there to stand up to
    curated: bool = False  # whether the modules bring a schema
    tune: bool = False
    on_vertex: bool = False  # False: node after node in this process


@dataclasses.dataclass(frozen=True)
class Plan:
    """Two equal plans give the same model, so `identity` names a run's checkpoints and its release."""

    spans: tuple[int, ...]
    labels: tuple[str, ...]
    fingerprint: str  # sha256 of what the spans contain
    modules: Modules
    seed: int
    tune: bool
    current: str  # tag of the release that the new model has to stand up to, "" when there is none
    commit: str  # of this repository, "" where it is not known

    @property
    def identity(self) -> str:
        """sha256 of everything that decides what the run does; the commit decides nothing, the modules' digest does."""
        decisive = [self.spans, self.fingerprint, self.modules.digest, self.seed, self.tune, self.current]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    @property
    def shape(self) -> Shape:
        """The pipeline that this takes on this machine."""
        return Shape(baseline=bool(self.current), curated=bool(self.modules.schema), tune=self.tune)


def training(config: Config, selection: str, given: Modules | None = None, commit: str | None = None) -> Plan:
    """Plans a training on `selection` ("1,2 | all | latest:N"). Raises UsageError, NoSpans or TooFewImages.

    Modules and commit are looked up where this runs, unless they are given.
    """
    published = spans.published(open_storage(config.workspace))
    numbers = spans.select(selection, published)
    if not numbers:
        raise NoSpans(config.workspace)
    chosen = [span for span in published if span.number in numbers]
    _check(chosen)
    plan = Plan(
        spans=numbers,
        labels=tuple(sorted({label for span in chosen for label in span.labels})),
        fingerprint=hashlib.sha256("".join(span.digest for span in chosen).encode()).hexdigest(),
        modules=given or modules.find(config.modules, sys.path),
        seed=config.seed,
        tune=config.tune,
        current="",
        commit=this_commit() if commit is None else commit,
    )
    return dataclasses.replace(plan, current=_current(plan, releases_of(config)))


def newest_is_untrained(storage: Storage) -> bool:
    """True when no training that included the newest span has ended yet."""
    published = spans.published(storage)
    return bool(published) and published[-1].number not in reports.trained_spans(storage)


def span_to_retrain(storage: Storage) -> int | None:
    """Returns the span that a retraining is about: the next one, or one that is untrained; None with nothing to do."""
    newest = max((span.number for span in spans.published(storage)), default=0)
    if collected.count_up_to(storage, 1):
        return newest + 1
    return newest if newest_is_untrained(storage) else None


def _check(chosen: list[Span]) -> None:
    labels = {label for span in chosen for label in span.labels}
    if len(labels) < 2:
        raise TooFewImages(f"only the label {labels.pop()!r}: a classifier needs at least two")
    for split, purpose in (("train", "training"), ("eval", "evaluation")):
        if not any(span.shards(split) for span in chosen):
            raise TooFewImages(
                f"no image for {purpose}: about one in five is for evaluation, the others are for training"
            )


def _current(plan: Plan, releases: Releases) -> str:
    """Returns the newest release's tag; but when this very plan made it, the tag that it stood up to then.

    So asking for the same training again compares with the same model, gets the same verdict, and finds it cached.
    """
    newest = releases.newest()
    if newest is None:
        return ""
    before = newest.previous or ""
    return before if dataclasses.replace(plan, current=before).identity == newest.identity else newest.tag
