"""Import files of image datasets: one image with its label a line, in the format that Vertex AI publishes.

https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
gs://google-cloud-aiplatform/schema/dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml
"""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from tests.emulators.services import Refused
from tests.emulators.vertex import names

SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml"
ML_USE = "aiplatform.googleapis.com/ml_use"
USES = ("training", "validation", "test")
FORMATS = ("JPEG", "GIF", "PNG", "BMP", "ICO")  # for training; predictions also take WEBP and TIFF
LARGEST_IMAGE = 30_000_000  # bytes
LONGEST_LABEL = 128  # characters: google/cloud/aiplatform/v1/annotation_spec.proto
FIELDS = {"imageGcsUri", "classificationAnnotation", "dataItemResourceLabels"}
ANNOTATION_FIELDS = {"displayName", "annotationResourceLabels"}


class Invalid(Exception):
    """A line cannot be imported; the message says why."""


class Item(NamedTuple):
    """A DataItem: an image, its label ("" if none) and its resource labels."""

    uri: str
    image: bytes
    label: str
    resource_labels: Mapping[str, str]


def parsed(line: bytes, read: Callable[[str], bytes | None]) -> Item:
    """Parses a line; `read` returns the bytes at an address, None if there are none. Raises Invalid."""
    try:
        found = json.loads(line)
    except ValueError:
        raise Invalid("The line is not JSON.") from None
    given = _object(found, "The line", FIELDS)
    uri = _text(given.get("imageGcsUri"), "imageGcsUri")
    annotation = _object(given.get("classificationAnnotation", {}), "classificationAnnotation", ANNOTATION_FIELDS)
    label = ""
    if annotation:
        label = _text(annotation.get("displayName"), "classificationAnnotation.displayName")
        _labels(annotation.get("annotationResourceLabels", {}), "annotationResourceLabels")
    if len(label) > LONGEST_LABEL:
        raise Invalid(f"The label {label[:20]!r}... is longer than {LONGEST_LABEL} characters.")
    resource_labels = _labels(given.get("dataItemResourceLabels", {}), "dataItemResourceLabels")
    if resource_labels.get(ML_USE, USES[0]) not in USES:
        raise Invalid(f"{ML_USE} is {resource_labels[ML_USE]!r}, which is not one of {', '.join(USES)}.")
    return Item(uri, _image(uri, read), label, resource_labels)


def _object(given: Any, what: str, fields: set[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Invalid(f"{what} is not an object.")
    if unknown := set(given) - fields:
        raise Invalid(f"{what} has the unknown fields {sorted(unknown)}.")
    return given


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str) or not given:
        raise Invalid(f"{what} is required and must be a string.")
    return given


def _labels(given: Any, what: str) -> dict[str, str]:
    """Labels of the user's, and the system label ml_use: https://cloud.google.com/vertex-ai/docs/general/labels."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Invalid(f"{what} is not an object of strings.")
    try:
        names.check_labels({key: value for key, value in given.items() if key != ML_USE})
    except Refused as refused:
        raise Invalid(f"{what}: {refused.message}") from None
    return given


def _image(uri: str, read: Callable[[str], bytes | None]) -> bytes:
    if not uri.startswith("gs://"):
        raise Invalid(f"imageGcsUri {uri!r} is not gs://BUCKET/OBJECT.")
    data = read(uri)
    if data is None:
        raise Invalid(f"File not found: {uri}")
    if len(data) > LARGEST_IMAGE:
        raise Invalid(f"{uri} is larger than {LARGEST_IMAGE // 1_000_000} MB.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):
        raise Invalid(f"{uri} is not an image in one of the formats {', '.join(FORMATS)}.") from None
    return data
