"""What a training run is going to do, decided before anything slow begins."""

import dataclasses
import hashlib
import json
import subprocess
import sys

from pipeline import modules
from pipeline.config import Config
from pipeline.data import spans as published_spans
from pipeline.data.releases import Releases, open_releases
from pipeline.data.spans import Span
from pipeline.data.storage import open_storage
from pipeline.errors import NoSpans, TooFewImages
from pipeline.modules import Modules


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


def training(config: Config, selection: str) -> Plan:
    """Plans a training on `selection` ("1,2 | all | latest:N"). Raises UsageError, NoSpans or TooFewImages."""
    published = published_spans.published(open_storage(config.workspace))
    numbers = published_spans.select(selection, published)
    if not numbers:
        raise NoSpans(config.workspace)
    chosen = [span for span in published if span.number in numbers]
    _check(chosen)
    plan = Plan(
        spans=numbers,
        labels=tuple(sorted({label for span in chosen for label in span.labels})),
        fingerprint=hashlib.sha256("".join(span.digest for span in chosen).encode()).hexdigest(),
        modules=modules.find(config.modules, sys.path),
        seed=config.seed,
        tune=config.tune,
        current="",
        commit=_commit(),
    )
    return dataclasses.replace(plan, current=_current(plan, open_releases(config.releases)))


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


def _commit() -> str:
    """Returns this repository's commit, with "-dirty" when files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""  # no git, or not a clone
