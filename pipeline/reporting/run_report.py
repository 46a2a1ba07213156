"""The report of one training as a file: written next to untrusted code, so it is read as untrusted input."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.data.reports import TrainingReport
from pipeline.errors import UnreadableReport
from pipeline.outcomes import Metrics, NodeDuration
from pipeline.releases.record import LARGEST_DEVICE_MODEL, Release
from pipeline.reporting import strict

REHEARSAL, TRAINING = "rehearsal", "training"
BRANCHES = ("", "none", "modules-only", "full-codebase")  # as `python -m ci route` names them; "" if not known
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
    """The model that a new one was compared with, on the same images."""

    release: str
    commit: str  # "" where it is not known
    modules_digest: str  # the same
    metrics: Metrics
    new_labels: tuple[str, ...]  # labels that it does not know


@dataclass(frozen=True)
class Device:
    """The device model that was trained beside the other one, on the same images."""

    accuracy: float | None
    agreement: float | None  # share of images to which both models give the same label
    bytes: int


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
    uncompared: str  # why there is no current model, or ""
    threshold: float | None  # required accuracy, None where it is not known
    durations: tuple[NodeDuration, ...]
    seconds: float  # in total, 0 where it is not known
    branch: str  # of the workflows that a push of this change takes
    why: str  # reason for the branch
    machines: str  # machine types of a training in the cloud
    device: Device | None = None

    def to_json(self) -> str:
        """Returns JSON that `from_json` reads."""
        return f"{json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)}\n"

    @classmethod
    def from_json(cls, text: str) -> "RunReport":
        """Returns the report that `to_json` wrote. Raises UnreadableReport for anything that differs in form."""
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
    defaults = {"kind": TRAINING, "uncompared": "", "threshold": None, "branch": "", "why": "", "machines": ""}
    return RunReport(
        **defaults
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
            "device": outcome.device
            and Device(outcome.device.metrics.accuracy, outcome.device.agreement, outcome.device.bytes),
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


def _report(value: Any) -> RunReport:
    with strict.fields(value, "the report") as fields:
        return RunReport(
            kind=fields.choice("kind", (REHEARSAL, TRAINING)),
            created=fields.text("created", 20, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
            commit=fields.text("commit", 70, _COMMIT),
            modules_digest=fields.text("modules_digest", 64, _DIGEST),
            identity=fields.text("identity", 64, _DIGEST),
            spans=fields.wholes("spans", MOST_SPANS, LARGEST_SPAN),
            metrics=fields.read("metrics", _metrics),
            blessed=fields.flag("blessed"),
            reasons=fields.texts("reasons", MOST_REASONS, LONGEST_REASON),
            release=fields.maybe("release", lambda: fields.text("release", 20, _TAG)),
            current=fields.maybe("current", lambda: fields.read("current", _current)),
            uncompared=fields.text("uncompared", LONGEST_REASON),
            threshold=fields.share("threshold"),
            durations=fields.each("durations", MOST_NODES, _duration),
            seconds=fields.number("seconds", MOST_SECONDS),
            branch=fields.choice("branch", BRANCHES),
            why=fields.text("why", LONGEST_REASON),
            machines=fields.text("machines"),
            device=fields.maybe("device", lambda: fields.read("device", _device)),
        )


def _metrics(value: Any) -> Metrics:
    with strict.fields(value, "metrics") as fields:
        return Metrics(
            accuracy=fields.share("accuracy"),
            images=fields.whole("images", 10**12),
            per_span=fields.shares("per_span", MOST_SPANS, 20),
            per_label=fields.shares("per_label", MOST_LABELS, LONGEST_LABEL),
        )


def _current(value: Any) -> Current:
    with strict.fields(value, "current") as fields:
        return Current(
            release=fields.text("release", 20, _TAG),
            commit=fields.text("commit", 70, _COMMIT),
            modules_digest=fields.text("modules_digest", 64, _DIGEST),
            metrics=fields.read("metrics", _metrics),
            new_labels=fields.texts("new_labels", MOST_LABELS, LONGEST_LABEL),
        )


def _device(value: Any) -> Device:
    with strict.fields(value, "device") as fields:
        return Device(
            accuracy=fields.share("accuracy"),
            agreement=fields.share("agreement"),
            bytes=fields.whole("bytes", LARGEST_DEVICE_MODEL),
        )


def _duration(value: Any) -> NodeDuration:
    with strict.fields(value, "a duration") as fields:
        return NodeDuration(
            node=fields.text("node", 100),
            state=fields.choice("state", STATES),
            seconds=fields.number("seconds", MOST_SECONDS),
        )
