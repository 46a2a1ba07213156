"""`model.json`, the record of a release: its fields, and the checks that each passes before anything uses it."""

import dataclasses
import json
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import BrokenRelease
from pipeline.outcomes import Escalation, Metrics, SpanState, states_from_json
from pipeline.releases.archive import ARCHIVE

RECORD = "model.json"
DEVICE_MODEL = "model.tflite"
LARGEST_RECORD = 16 << 20  # bytes
LARGEST_DEVICE_MODEL = 2 << 30  # bytes; a FlatBuffer cannot be larger
LONGEST_FIELD = 1000  # characters
LARGEST_COUNT = 10**9  # of images, and number of a span
LARGEST_SIDE = 4096  # pixels of an image as a model for devices takes it
LARGEST_COLOUR = 1000.0  # in the range of a model's input, and of its background
TFX, AUTOML = "tfx", "automl"  # flavours: what trained the models
TAG = re.compile(r"model-[1-9]\d*", re.ASCII)


@dataclass(frozen=True)
class DeviceModel:
    """The model for devices in a release, a file of its own: `device` of its `model.json`."""

    file: str
    bytes: int
    labels: tuple[str, ...]  # in the order of the model's probabilities
    input: Mapping[str, Any]  # shape, dtype, range, resize, background: what an app does to an image
    quantization: str
    metrics: Metrics
    agreement: float | None  # share of images on which both models give the same label; None without images
    escalation: Escalation | None  # None without images


@dataclass(frozen=True)
class Release:
    """A released model: the fields of its `model.json`."""

    tag: str
    identity: str  # sha256 of all inputs of the training
    commit: str  # "" where unknown
    modules_digest: str
    spans: tuple[int, ...]
    labels: tuple[str, ...]
    metrics: Metrics
    files: Mapping[str, str]  # {name: sha256}
    created: str  # UTC, ISO 8601
    previous: str | None  # tag of the release that it was compared with
    image: str = ""  # of the training, by digest; "" without a container
    data: Mapping[str, SpanState] = field(default_factory=dict)  # {number of a span: what it held}
    device: DeviceModel | None = None  # None where one model was trained
    flavour: str = TFX
    cloud_model: str = ""  # of AutoML: resource name and version on Vertex AI, which alone has it; else in ARCHIVE

    @property
    def archive(self) -> str:
        """sha256 of the packed cloud model; "" for one of AutoML, which is not packed."""
        return self.files.get(ARCHIVE, "")


def format_record(release: Release) -> bytes:
    """Returns the content of `model.json`."""
    return f"{json.dumps(dataclasses.asdict(release), indent=1)}\n".encode()


def parse_record(tag: str, content: bytes) -> Release:
    """Returns the release `tag` of the content of its `model.json`. Raises BrokenRelease unless every field is valid.

    Fields of later versions are ignored.
    """
    if len(content) > LARGEST_RECORD:
        raise BrokenRelease(tag, f"{RECORD} has more than {LARGEST_RECORD:,} bytes")
    try:
        # Records of earlier versions lack some fields. RecursionError: too many brackets.
        earlier = {"image": "", "data": {}, "device": None, "flavour": TFX, "cloud_model": ""}
        record = earlier | json.loads(content, parse_constant=_reject_constant)
        fields = {name: record[name] for name in _CHECKS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenRelease(tag, f"{RECORD} cannot be read ({error!r:.200})") from None
    for name, (valid, expected) in _CHECKS.items():
        if not valid(fields[name]):
            raise BrokenRelease(tag, f"{RECORD} cannot be read: {name} is {_short(fields[name])} and not {expected}")
    if fields["tag"] != tag:
        raise BrokenRelease(tag, f"{RECORD} cannot be read: it is the record of {fields['tag']}")
    if fields["flavour"] == AUTOML and not (fields["cloud_model"] and fields["device"]):
        raise BrokenRelease(tag, f"{RECORD} cannot be read: a release of AutoML has a cloud_model and a device")
    if fields["flavour"] == TFX and ARCHIVE not in fields["files"]:
        raise BrokenRelease(tag, f"{RECORD} cannot be read: files has no checksum of {ARCHIVE}")
    device = fields["device"]
    if device and device["file"] not in fields["files"]:
        raise BrokenRelease(tag, f"{RECORD} cannot be read: files has no checksum of {_short(device['file'])}")
    return Release(
        **fields
        | {
            "spans": tuple(fields["spans"]),
            "labels": tuple(fields["labels"]),
            "metrics": Metrics.from_json(fields["metrics"]),
            "data": states_from_json(fields["data"]),
            "device": _device(device) if device else None,
        }
    )


def _device(found: Mapping[str, Any]) -> DeviceModel:
    return DeviceModel(
        **{name: found[name] for name in ("file", "bytes", "quantization", "agreement")},
        labels=tuple(found["labels"]),
        input={name: found["input"][name] for name in _INPUT},
        metrics=Metrics.from_json(found["metrics"]),
        escalation=Escalation.from_json(found["escalation"]) if found["escalation"] else None,
    )


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _short(value: Any) -> str:
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode()


def _is_text(value: Any, shortest: int = 0) -> bool:
    return isinstance(value, str) and shortest <= len(value) <= LONGEST_FIELD and value.isprintable()


def _is_tag(value: Any) -> bool:
    return _is_text(value) and TAG.fullmatch(value) is not None


def _is_count(value: Any, smallest: int = 0) -> bool:
    return type(value) is int and smallest <= value <= LARGEST_COUNT  # a bool is an int, too


def _is_side(value: Any) -> bool:
    return _is_count(value, 1) and value <= LARGEST_SIDE


def _is_share(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)


def _are_distinct(values: Any, valid: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(valid, values)) and len(set(values)) == len(values)


def _maps(value: Any, key: Callable[[Any], bool], content: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(key, value)) and all(map(content, value.values()))


def _is_label(value: Any) -> bool:
    return _is_text(value, 1)


def _is_span(value: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,9}", value, re.ASCII) is not None


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and _is_label(value.get("digest")) and _is_count(value.get("corrections"))


def _are_metrics(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_share(value.get("accuracy"))
        and _is_count(value.get("images", 0))
        and _maps(value.get("per_span", {}), _is_span, _is_share)
        and _maps(value.get("per_label", {}), _is_label, _is_share)
    )


def _is_name(value: str) -> bool:
    """True for the name of a file directly in the release's folder, also on Windows, other than the record's."""
    return _is_text(value, 1) and not re.search(r"[/\\:]", value) and value not in (".", "..", RECORD)


def _are_files(value: Any) -> bool:
    return _maps(value, _is_name, _is_sha256)


def _is_device(value: Any) -> bool:
    return isinstance(value, dict) and all(name in value and valid(value[name]) for name, valid in _DEVICE.items())


def _is_input(value: Any) -> bool:
    return isinstance(value, dict) and all(name in value and valid(value[name]) for name, valid in _INPUT.items())


def _is_escalation(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and _are_shares([value.get(name) for name in ("threshold", "escalated", "accuracy")])
        and isinstance(value.get("curve", []), list)
        and all(map(_are_shares, value.get("curve", [])))
    )


def _are_shares(values: Any) -> bool:
    """True for three shares, none of them null."""
    return isinstance(values, list) and len(values) == 3 and None not in values and all(map(_is_share, values))


def _are_numbers(value: Any, length: int) -> bool:
    numbers = isinstance(value, list) and len(value) == length and all(type(one) in (int, float) for one in value)
    return numbers and all(abs(one) <= LARGEST_COLOUR for one in value)  # 1e999 is infinite


_INPUT: Mapping[str, Callable[[Any], bool]] = {
    "shape": lambda value: isinstance(value, list) and len(value) == 4 and all(map(_is_side, value)),
    "dtype": _is_label,
    "range": lambda value: _are_numbers(value, 2),
    "resize": _is_label,
    "background": lambda value: _are_numbers(value, 3),
}
_DEVICE: Mapping[str, Callable[[Any], bool]] = {
    "file": lambda value: isinstance(value, str) and _is_name(value) and value != ARCHIVE,
    "bytes": lambda value: type(value) is int and 0 < value <= LARGEST_DEVICE_MODEL,
    "labels": lambda value: _are_distinct(value, _is_label),
    "input": _is_input,
    "quantization": _is_label,
    "metrics": _are_metrics,
    "agreement": _is_share,
    "escalation": _is_escalation,
}


def _is_model(value: Any) -> bool:
    # https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models
    return (
        _is_text(value)
        and re.fullmatch(r"projects/[\w-]+/locations/[\w-]+/models/[\w-]+@\d+", value, re.ASCII) is not None
    )


def _is_sha256(value: Any) -> bool:
    return _is_text(value) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_time(value: Any) -> bool:
    return _is_text(value) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value, re.ASCII) is not None


_LINE = f"a line of at most {LONGEST_FIELD:,} characters"
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "tag": (_is_tag, "model-N"),
    "identity": (_is_label, _LINE),
    "commit": (_is_text, _LINE),
    "modules_digest": (_is_text, _LINE),
    "spans": (lambda value: _are_distinct(value, lambda span: _is_count(span, 1)), "a list of distinct span numbers"),
    "labels": (lambda value: _are_distinct(value, _is_label), "a list of distinct labels"),
    "metrics": (_are_metrics, "metrics: shares from 0 to 1, and a number of images"),
    "files": (_are_files, "the sha256 of each file in the release, by name"),
    "created": (_is_time, "a time such as 2026-11-22T12:04:05Z"),
    "previous": (lambda value: value is None or _is_tag(value), "null or model-N"),
    "image": (_is_text, _LINE),
    "data": (lambda value: _maps(value, _is_span, _is_state), "a digest and a number of corrections by span"),
    "device": (lambda value: value is None or _is_device(value), "null or the fields of a model for devices"),
    "flavour": (lambda value: value in (TFX, AUTOML), f"{TFX} or {AUTOML}"),
    "cloud_model": (
        lambda value: value == "" or _is_model(value),
        "empty or the name of a model's version on Vertex AI",
    ),
}
