"""What trainings, evaluations, submissions and deployments end with: frozen dataclasses that every layer may use.

JSON is made and read here alone: `to_json` gives the keys that `python -m ci COMMAND --json`, the outputs of components
and the reports in the workspace have; `from_json` reads them back and ignores fields that it does not know.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metrics:
    """Shares of images that a model labels correctly, of those that were kept out of training; in [0, 1]."""

    accuracy: float | None = None  # None without images
    images: int = 0
    per_span: Mapping[str, float | None] = field(default_factory=dict)  # {number: accuracy}
    per_label: Mapping[str, float | None] = field(default_factory=dict)

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Metrics":
        return cls(**_known(cls, found))


@dataclass(frozen=True)
class CurrentModel:
    """The released model that a new one was compared with, on the same images."""

    release: str  # tag
    metrics: Metrics
    new_labels: tuple[str, ...] = ()  # labels that the new model knows and this one does not

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"new_labels": list(self.new_labels)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "CurrentModel":
        return cls(found["release"], Metrics.from_json(found["metrics"]), tuple(found.get("new_labels", ())))


@dataclass(frozen=True)
class Escalation:
    """When a device asks the cloud model: where its own confidence is below `threshold`."""

    threshold: float
    escalated: float  # share of the images that the cloud model is then asked about
    accuracy: float  # of both models together
    # (threshold, escalated, accuracy) of all thresholds that could have been chosen, lowest first
    curve: tuple[tuple[float, float, float], ...] = ()

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Escalation":
        return cls(**_known(cls, found) | {"curve": tuple(map(tuple, found.get("curve", ())))})


@dataclass(frozen=True)
class NodeDuration:
    """How long a node took."""

    node: str
    state: str  # "done", or "unchanged" where an earlier run's outputs were used
    seconds: float

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "NodeDuration":
        return cls(**_known(cls, found))


@dataclass(frozen=True)
class SliceVerdict:
    """The images of a slice: how many a new model labels correctly and, beside the current model, what that means."""

    kind: str  # "overall", "span" or "label"
    name: str  # of the span or label, "" overall
    images: int
    right: int
    current_right: int | None = None  # None without a current model, as is what follows
    lost: int = 0  # images that only the current model labels correctly
    gained: int = 0  # images that only the new model labels correctly
    finding: str = ""  # a comparison.Finding
    p: float | None = None  # probability of as many lost images if both models were equally good
    level: float | None = None  # largest p that counts as significant
    interval: tuple[float, float] | None = None  # 95 %, of the difference in accuracy
    detectable: float | None = None  # loss of accuracy that these images would have shown in 80 of 100 cases

    @property
    def where(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    def sentence(self, current: str) -> str:
        """Returns 'span 6: 14 of 15 right, model-1 15 of 15: within chance'; `current` is the current model's tag."""
        counts = f"{self.where}: {self.right:,} of {self.images:,} right"
        if self.current_right is None:
            return counts
        return f"{counts}, {current} {self.current_right:,} of {self.images:,}: {self.finding}"

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "SliceVerdict":
        interval = found.get("interval")
        return cls(**_known(cls, found) | {"interval": tuple(interval) if interval else None})


@dataclass(frozen=True)
class SpanState:
    """What a span held when it was trained on."""

    digest: str
    corrections: int  # number of the last one that was applied

    to_json = dataclasses.asdict


def states_from_json(found: Mapping[str, Any]) -> dict[str, SpanState]:
    """Reads {number of a span: what it held}."""
    return {number: SpanState(**_known(SpanState, state)) for number, state in found.items()}


@dataclass(frozen=True)
class DeviceOutcome:
    """The device model of a training, beside the cloud model on the same images."""

    blessed: bool  # it is good enough on its own, and both are good enough together
    metrics: Metrics
    agreement: float | None  # share of images to which both models give the same label; None without images
    bytes: int  # of its file
    reasons: tuple[str, ...] = ()  # why it was not blessed, a sentence each
    current: CurrentModel | None = None  # the device model of the current release
    slices: tuple[SliceVerdict, ...] = ()
    labels: tuple[str, ...] = ()  # in the order of its probabilities
    input: Mapping[str, Any] = field(default_factory=dict)  # shape, dtype, range, resize, background
    quantization: str = ""
    milliseconds: float | None = None  # for an image, on one thread
    machine: str = ""  # where that was measured
    agreement_interval: tuple[float, float] | None = None  # 95 %
    escalation: Escalation | None = None
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # {quantization: what conversion changed}

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "reasons": list(self.reasons),
            "current": self.current.to_json() if self.current else None,
            "slices": [verdict.to_json() for verdict in self.slices],
            "labels": list(self.labels),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "DeviceOutcome":
        interval, escalation, current = (found.get(name) for name in ("agreement_interval", "escalation", "current"))
        return cls(
            **_known(cls, found)
            | {
                "metrics": Metrics.from_json(found["metrics"]),
                "reasons": tuple(found.get("reasons", ())),
                "current": CurrentModel.from_json(current) if current else None,
                "slices": tuple(map(SliceVerdict.from_json, found.get("slices", ()))),
                "labels": tuple(found.get("labels", ())),
                "agreement_interval": tuple(interval) if interval else None,
                "escalation": Escalation.from_json(escalation) if escalation else None,
            }
        )


@dataclass(frozen=True)
class Rejected:
    """An image that cannot be used: its name in the folder that it came from, and why."""

    name: str
    reason: str

    to_json = dataclasses.asdict


@dataclass(frozen=True)
class TrainingOutcome:
    """What a run of the training pipeline ended with."""

    spans: tuple[int, ...]
    blessed: bool
    metrics: Metrics
    release: str | None = None  # tag
    reasons: tuple[str, ...] = ()  # why the model was not blessed, a sentence each
    current: CurrentModel | None = None
    durations: tuple[NodeDuration, ...] = ()  # of each node in turn; empty where it is not known
    slices: tuple[SliceVerdict, ...] = ()  # all images first, then each span, then each label
    unlearned: Mapping[str, int] = field(default_factory=dict)  # {label without an image for training: others of it}
    page: str | None = None  # address of the page about it
    data: Mapping[str, SpanState] = field(default_factory=dict)  # {number of a span: what it held}
    device: DeviceOutcome | None = None  # None where one model was trained
    left_out: tuple[Rejected, ...] = ()  # images that could not be decoded, named as `withdraw` takes them

    def to_json(self) -> dict[str, Any]:
        return {
            "spans": list(self.spans),
            "blessed": self.blessed,
            "metrics": self.metrics.to_json(),
            "release": self.release,
            "reasons": list(self.reasons),
            "current": self.current.to_json() if self.current else None,
            "durations": [duration.to_json() for duration in self.durations],
            "slices": [verdict.to_json() for verdict in self.slices],
            "unlearned": dict(self.unlearned),
            "page": self.page,
            "data": {number: state.to_json() for number, state in self.data.items()},
            "device": self.device.to_json() if self.device else None,
            "left_out": [image.to_json() for image in self.left_out],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "TrainingOutcome":
        return cls(
            spans=tuple(found["spans"]),
            blessed=found["blessed"],
            metrics=Metrics.from_json(found["metrics"]),
            release=found.get("release"),
            reasons=tuple(found.get("reasons", ())),
            current=CurrentModel.from_json(found["current"]) if found.get("current") else None,
            durations=tuple(map(NodeDuration.from_json, found.get("durations", ()))),
            slices=tuple(map(SliceVerdict.from_json, found.get("slices", ()))),
            unlearned=found.get("unlearned", {}),
            page=found.get("page"),
            data=states_from_json(found.get("data", {})),
            device=DeviceOutcome.from_json(found["device"]) if found.get("device") else None,
            left_out=tuple(Rejected(**_known(Rejected, image)) for image in found.get("left_out", ())),
        )


NO_TRAINING = {  # the fields of a TrainingOutcome, as JSON, where nothing was trained
    "spans": [],
    "blessed": None,
    "metrics": None,
    "release": None,
    "reasons": [],
    "current": None,
    "durations": [],
    "slices": [],
    "unlearned": {},
    "page": None,
    "data": {},
    "device": None,
    "left_out": [],
}


@dataclass(frozen=True)
class Conflict:
    """An image whose bytes came under another label, too; neither label is taken."""

    name: str
    label: str
    span: int | None  # that has it under the other label; None when both came at once
    there: str  # the other label

    to_json = dataclasses.asdict


@dataclass(frozen=True)
class Alike:
    """An image that is the same to the eye as another one: both are on one side of the split."""

    name: str
    span: int | None  # of the other one; None when both came at once
    there: str  # name of the other one

    to_json = dataclasses.asdict


@dataclass(frozen=True)
class PreparedSpan:
    """What became of a folder of images."""

    span: int | None = None  # None when there was no usable image, or none that is not in a span already
    images: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)  # {label: images}
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0  # copies of images in this span or an earlier one
    conflicts: tuple[Conflict, ...] = ()
    relabelled: int = 0  # published images that got another label
    near_duplicates: int = 0
    alike: tuple[Alike, ...] = ()  # the first of the near duplicates
    dark: tuple[Rejected, ...] = ()  # images that are taken, but look nearly black

    def to_json(self) -> dict[str, Any]:
        listed = {name: [each.to_json() for each in getattr(self, name)] for name in _LISTED}
        return dataclasses.asdict(self) | listed

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "PreparedSpan":
        listed = {
            name: tuple(kind(**_known(kind, each)) for each in found.get(name, ())) for name, kind in _LISTED.items()
        }
        return cls(**_known(cls, found) | listed)


_LISTED = {"rejected": Rejected, "conflicts": Conflict, "alike": Alike, "dark": Rejected}  # fields of PreparedSpan


@dataclass(frozen=True)
class CorrectionOutcome:
    """What a correction of published images changed."""

    changed: int
    unchanged: int  # images that were so already
    spans: Mapping[int, int]  # {number: images that were changed}


@dataclass(frozen=True)
class RetrainingOutcome:
    """What a retraining on this machine ended with; `training` is None when the newest span was trained on already."""

    prepared: PreparedSpan = PreparedSpan()
    training: TrainingOutcome | None = None

    def to_json(self) -> dict[str, Any]:
        return self.prepared.to_json() | (self.training.to_json() if self.training else NO_TRAINING)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RetrainingOutcome":
        trained = found["blessed"] is not None
        return cls(PreparedSpan.from_json(found), TrainingOutcome.from_json(found) if trained else None)


@dataclass(frozen=True)
class Submission:
    """A run on Vertex AI that was asked for."""

    job: str  # resource name
    state: str  # such as "running"
    submitted: bool  # False when it existed already
    digest: str  # of the compiled pipeline
    link: str  # to its page in the console

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Submission":
        return cls(**_known(cls, found))


NO_SUBMISSION = {"job": None, "state": None, "submitted": False, "digest": None, "link": None}  # a Submission, as JSON


@dataclass(frozen=True)
class RetrainingSubmitted:
    """What a retraining on Vertex AI ended with; `training` is None when the newest span was trained on already."""

    prepared: PreparedSpan
    training: Submission | None

    def to_json(self) -> dict[str, Any]:
        return self.prepared.to_json() | {"training": self.training.to_json() if self.training else NO_SUBMISSION}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RetrainingSubmitted":
        training = found["training"]
        return cls(PreparedSpan.from_json(found), Submission.from_json(training) if training["job"] else None)


@dataclass(frozen=True)
class DeviceEvaluation:
    """How a release's device model does on the images of an evaluation. Shares are None without images."""

    accuracy: float | None
    interval: tuple[float, float] | None  # 95 %
    per_label: Mapping[str, float | None]  # {label: accuracy}
    agreement: float | None  # share of images to which both models give the same label
    threshold: float  # accuracy below which the models should be retrained

    @property
    def below(self) -> bool:
        """True when the accuracy is below its threshold."""
        return self.accuracy is not None and self.accuracy < self.threshold

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "DeviceEvaluation":
        interval = found["interval"]
        return cls(**_known(cls, found) | {"interval": tuple(interval) if interval else None})


@dataclass(frozen=True)
class EvaluationOutcome:
    """How a released model does on the collected images. `accuracy` and `interval` are None without images."""

    release: str  # tag
    images: int
    accuracy: float | None
    interval: tuple[float, float] | None  # 95 %
    per_label: Mapping[str, float | None]  # {label: accuracy}
    should_retrain: bool  # this model or the device model is below its threshold
    threshold: float  # accuracy below which the model should be retrained
    collected: int  # images that wait, including those that were left out
    unusable: int = 0
    skipped: tuple[Rejected, ...] = ()  # the first unusable ones
    duplicates: int = 0  # the same bytes again
    in_spans: int = 0  # published already: trained on, or the measure of what was trained
    unknown_labels: Mapping[str, int] = field(default_factory=dict)  # {label that the model does not know: images}
    report: str | None = None  # address of the page, None when nothing was evaluated
    waiting: str = ""  # digest of names and generations of what waits, "" in reports of earlier versions
    conflicts: tuple[Conflict, ...] = ()  # under two labels: both files where both wait, else the one that waits
    device: DeviceEvaluation | None = None  # None for a release without a device model

    @property
    def below(self) -> bool:
        """True when the accuracy of the model itself, not that of a device model, is below its threshold."""
        return self.accuracy is not None and self.accuracy < self.threshold

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "interval": list(self.interval) if self.interval else None,
            "skipped": [skipped.to_json() for skipped in self.skipped],
            "conflicts": [conflict.to_json() for conflict in self.conflicts],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "EvaluationOutcome":
        interval, skipped = found["interval"], found.get("skipped", ())
        return cls(
            **_known(cls, found)
            | {
                "interval": tuple(interval) if interval else None,
                "skipped": tuple(Rejected(each["name"], each["reason"]) for each in skipped),
                "conflicts": tuple(Conflict(**_known(Conflict, each)) for each in found.get("conflicts", ())),
                "device": DeviceEvaluation.from_json(found["device"]) if found.get("device") else None,
            }
        )


@dataclass(frozen=True)
class UploadOutcome:
    """A release in the Model Registry; both None when nothing was released."""

    release: str | None  # tag
    version: str | None  # resource name

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "UploadOutcome":
        return cls(**_known(cls, found))


@dataclass(frozen=True)
class ServingOutcome:
    """What an endpoint serves after a deployment, a promotion or a rollback."""

    release: str | None  # tag of the release that was deployed, promoted or returned to
    endpoint: str | None  # resource name, None where only devices are served
    traffic: Mapping[str, int]  # {tag: percent} of everything that is deployed
    promoted: str | None  # tag
    changed: bool  # False when the endpoint was in this state already

    to_json = dataclasses.asdict


@dataclass(frozen=True)
class ChannelState:
    """A channel that devices follow."""

    tag: str
    percent: int  # of the channel's devices that get `tag`
    previous: str | None  # tag that the others get
    serial: int
    expires: str  # UTC, ISO 8601


@dataclass(frozen=True)
class DevicesOutcome:
    """The channels after a publication, a promotion or a rollback."""

    address: str
    channels: Mapping[str, ChannelState]  # by name: stable, beta
    changed: bool  # False when no pointer had to be written

    to_json = dataclasses.asdict

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "DevicesOutcome":
        channels = {name: ChannelState(**_known(ChannelState, of)) for name, of in found["channels"].items()}
        return cls(**_known(cls, found) | {"channels": channels})


@dataclass(frozen=True)
class Served:
    """What serves now; a half that is not configured, or cannot be read, is None."""

    endpoint: Mapping[str, int] | None  # {tag: percent of the traffic}
    devices: Mapping[str, ChannelState] | None  # by name of the channel
    server: Mapping[str, int] | None = None  # {tag: percent of the requests to `serve`}
    problems: tuple[str, ...] = ()  # why a half cannot be read

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"problems": list(self.problems)}


@dataclass(frozen=True)
class RolloutOutcome:
    """A promotion or a rollback; a part that did not move is None."""

    endpoint: ServingOutcome | None = None
    devices: DevicesOutcome | None = None
    server: ServingOutcome | None = None  # what `serve` serves

    def to_json(self) -> dict[str, Any]:
        """Returns the endpoint's fields, those of the devices below `devices`, and the traffic of `serve`."""
        stable = self.devices.channels["stable"].tag if self.devices else self.server and self.server.promoted
        served = self.endpoint or ServingOutcome(stable, None, {}, stable, False)
        parts = (self.endpoint, self.devices, self.server)
        return served.to_json() | {
            "changed": any(part.changed for part in parts if part),
            "devices": self.devices and self.devices.to_json(),
            "server": self.server and dict(self.server.traffic),
        }


def _known(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values in `found` of the fields of a dataclass."""
    return {each.name: found[each.name] for each in dataclasses.fields(kind) if each.name in found}
