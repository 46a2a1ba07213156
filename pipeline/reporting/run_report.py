"""What one training did, as a file: written where the code runs that is judged, read where nobody believes it."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.data.reports import TrainingReport
from pipeline.errors import UnreadableReport
from pipeline.outcomes import Metrics, NodeDuration
from pipeline.releases.base import Release
from pipeline.reporting import strict

REHEARSAL, TRAINING = "rehearsal", "training"
BRANCHES = ("", "none", "modules-only", "full-codebase")  # as `python -m ci route` names them; "" when nobody asked
STATES = ("done", "unchanged", "failed")

MOST_CHARACTERS = 1_000_000
MOST_LABELS, LONGEST_LABEL = 2000, 255
MOST_SPANS, LARGEST_SPAN = 2000, 10**9
MOST_REASONS, LONGEST_REASON = 2001, 500
MOST_NODES = 100
MOST_SECONDS = 10**7
_COMMIT = r"([0-9a-f]{40,64}(-dirty)?)?"
_DIGEST = r"([0-9a-f]{64})?"
_TAG = r"model-[1-9]\d{0,8}"


@dataclass(frozen=True)
class Current:
    """The model that a new one had to stand up to, judged on the same images."""

    release: str
    commit: str  # "" where it is not known
    modules_digest: str  # the same
    metrics: Metrics
    new_labels: tuple[str, ...]  # that it does not know


@dataclass(frozen=True)
class RunReport:
    """One run of the training pipeline."""

    kind: str
    created: str  # UTC, ISO 8601
    commit: str  # "" where it is not known
    modules_digest: str  # the same
    identity: str  # sha256 of everything that decided what the training did
    spans: tuple[int, ...]
    metrics: Metrics
    blessed: bool
    reasons: tuple[str, ...]  # why it was not blessed
    release: str | None
    current: Current | None
    uncompared: str  # why there is no current model, "" when that needs no explanation
    threshold: float | None  # accuracy that was needed, None where it is not known
    durations: tuple[NodeDuration, ...]
    seconds: float  # of all, 0 where it is not known
    branch: str  # which a push of this takes
    why: str  # it takes that branch
    machines: str  # what it is trained on in the cloud

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        return f"{json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)}\n"

    @classmethod
    def from_json(cls, text: str) -> "RunReport":
        """Returns the report that `to_json` wrote. Raises UnreadableReport of anything else, of however little else."""
        try:
            return _report(strict.load(text, MOST_CHARACTERS))
        except strict.Refused as why:
            raise UnreadableReport(str(why)) from None


def of_training(
    training: TrainingReport,
    durations: Iterable[NodeDuration],
    current: Release | None,
    **known: Any,
) -> RunReport:
    """Makes a report of a training from the one that the workspace keeps.

    `current` is the release that it names as current, if that can be read; `known` are fields that a training lacks.
    """
    outcome, durations = training.outcome, tuple(durations)
    before = outcome.current
    fields = {"kind": TRAINING, "uncompared": "", "threshold": None, "branch": "", "why": "", "machines": ""}
    return RunReport(
        **fields
        | {"seconds": sum(duration.seconds for duration in durations)}
        | known
        | {
            "created": training.created,
            "commit": training.commit,
            "modules_digest": training.modules_digest,
            "identity": training.identity,
            "spans": outcome.spans,
            "metrics": outcome.metrics,
            "blessed": outcome.blessed,
            "reasons": outcome.reasons,
            "release": outcome.release,
            "durations": durations,
            "current": before
            and Current(
                release=before.release,
                commit=current.commit if current else "",
                modules_digest=current.modules_digest if current else "",
                metrics=before.metrics,
                new_labels=before.new_labels,
            ),
        },
    )


def _report(told: Any) -> RunReport:
    with strict.fields(told, "the report") as of:
        return RunReport(
            kind=of.choice("kind", (REHEARSAL, TRAINING)),
            created=of.text("created", 20, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
            commit=of.text("commit", 70, _COMMIT),
            modules_digest=of.text("modules_digest", 64, _DIGEST),
            identity=of.text("identity", 64, _DIGEST),
            spans=of.wholes("spans", MOST_SPANS, LARGEST_SPAN),
            metrics=of.read("metrics", _metrics),
            blessed=of.flag("blessed"),
            reasons=of.texts("reasons", MOST_REASONS, LONGEST_REASON),
            release=of.maybe("release", lambda: of.text("release", 20, _TAG)),
            current=of.maybe("current", lambda: of.read("current", _current)),
            uncompared=of.text("uncompared", LONGEST_REASON),
            threshold=of.share("threshold"),
            durations=of.each("durations", MOST_NODES, _duration),
            seconds=of.number("seconds", MOST_SECONDS),
            branch=of.choice("branch", BRANCHES),
            why=of.text("why", LONGEST_REASON),
            machines=of.text("machines"),
        )


def _metrics(told: Any) -> Metrics:
    with strict.fields(told, "metrics") as of:
        return Metrics(
            accuracy=of.share("accuracy"),
            images=of.whole("images", 10**12),
            per_span=of.shares("per_span", MOST_SPANS, 20),
            per_label=of.shares("per_label", MOST_LABELS, LONGEST_LABEL),
        )


def _current(told: Any) -> Current:
    with strict.fields(told, "current") as of:
        return Current(
            release=of.text("release", 20, _TAG),
            commit=of.text("commit", 70, _COMMIT),
            modules_digest=of.text("modules_digest", 64, _DIGEST),
            metrics=of.read("metrics", _metrics),
            new_labels=of.texts("new_labels", MOST_LABELS, LONGEST_LABEL),
        )


def _duration(told: Any) -> NodeDuration:
    with strict.fields(told, "a duration") as of:
        return NodeDuration(
            node=of.text("node", 100), state=of.choice("state", STATES), seconds=of.number("seconds", MOST_SECONDS)
        )
