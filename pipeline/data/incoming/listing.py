"""Files that list images with their labels: CSV and JSON lines, also those that Vertex AI imports.

CSV: `image,label` or `image,label,group`, with or without a header, or `ml_use,gs://...,label`. JSON lines: `image`,
`label` and `group`, or `imageGcsUri` and `classificationAnnotation` with its `displayName`
(https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data). An image is gs://bucket/name, or a
path from the folder of the list. What else a list has, such as a split of its own, is not used.
"""

import csv
import io
import json
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.data.images.formats import format_of, is_image
from pipeline.errors import NoCredentials, StorageError, UsageError
from pipeline.storage.base import Source, Storage, map_in_order, too_large, truncated_name
from pipeline.storage.factory import open_storage

ENDINGS = (".csv", ".jsonl")
_ML_USE = {"training", "validation", "test", "unassigned", "train"}
_IMAGE, _LABEL = {"image", "image_path", "path", "file", "filename"}, {"label", "class"}


class Row(NamedTuple):
    """An image of a list."""

    image: str
    label: str
    group: str = ""


@dataclass
class LabelledFile:
    """A file whose label is known from elsewhere than its name."""

    name: str
    label: str
    group: str
    data: bytes = b""
    problem: str = ""
    generation: str = ""
    original: Source | None = None  # of which this is another name

    def unchanged(self) -> bool:
        return self.original is None or self.original.unchanged()


def sources(address: str, max_bytes: int) -> Iterator[LabelledFile]:
    """Reads the images that a list names; raises UsageError when it cannot be read or names none."""
    folder, _, name = address.rpartition("/")
    place = open_storage(folder or ".")
    try:
        text = place.read(name).decode("utf-8-sig")
    except StorageError as error:
        raise UsageError(f"{address} cannot be read as a list of images: {error}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{address} cannot be read as a list of images: it is not in UTF-8. Save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from None
    rows = _json_rows(address, text) if name.endswith(".jsonl") else _csv_rows(address, text)
    if not rows:
        raise UsageError(f"{address} names no image: it should hold lines such as cat/1.jpg,cat.")
    _check_groups(address, rows)
    buckets: dict[str, Storage] = {}

    def read(row: Row) -> LabelledFile:
        return _read(place, buckets, row, max_bytes)

    for _, source in map_in_order(place, read, rows):
        yield source


def _check_groups(address: str, rows: Sequence[Row]) -> None:
    """Raises UsageError where a list names an image with two groups: it could be kept together with one only."""
    groups: dict[str, str] = {}
    for row in rows:
        if (first := groups.setdefault(row.image, row.group)) != row.group:
            raise UsageError(f"{address} names {row.image!r} in two groups, {first!r} and {row.group!r}: keep one.")


def _read(place: Storage, buckets: dict[str, Storage], row: Row, max_bytes: int) -> LabelledFile:
    found = LabelledFile(_name_of(row), row.label, row.group)
    scheme, there, rest = row.image.partition("://")
    bucket, _, path = rest.partition("/")
    if there and (scheme != "gs" or not bucket or not path):
        found.problem = f"cannot be read: {row.image!r} is neither a path nor gs://BUCKET/NAME"
        return found
    try:
        if there:
            storage = buckets.setdefault(bucket, open_storage(f"gs://{bucket}"))
        else:
            storage, path = (open_storage("/"), row.image[1:]) if row.image.startswith("/") else (place, row.image)
        found.data = storage.read(posixpath.normpath(path), last=max_bytes + 1)
    except (StorageError, ValueError) as error:  # ValueError: of a name that no file can have
        if isinstance(error, NoCredentials):
            raise  # the same of every image
        found.problem = f"cannot be read: {error}"
    if len(found.data) > max_bytes:
        found.data, found.problem = b"", too_large(max_bytes)
    elif found.data and not there and not is_image(found.data) and _is_outside(place, storage.address(path)):
        # of a file that is no image and that a list names anywhere on this machine no copy is kept
        found.data, found.problem = b"", format_of(found.data).refusal
    return found


def _is_outside(place: Storage, path: str) -> bool:
    """True when a file is not below the list's folder, or only by a link."""
    folder = os.path.realpath(place.address())
    return os.path.commonpath([folder, os.path.realpath(path)]) != folder


def _name_of(row: Row) -> str:
    """Returns `<label>/<image>`, each changed to what a file system takes for a name."""
    image = row.image.removeprefix("gs://").strip("/")
    return f"{_file_name(row.label)}/{_file_name(image)}"


def _file_name(text: str) -> str:
    name = re.sub(r"^\.|[/\0]", "_", text.encode("utf-8", "replace").decode())
    stem, ending = posixpath.splitext(name)
    return name if len(name.encode()) <= 255 else truncated_name(stem, ending[:20])


def _csv_rows(address: str, text: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    try:
        table = [[cell.strip() for cell in row] for row in reader if any(row)]
    except csv.Error as error:
        raise UsageError(f"{address} line {reader.line_num} cannot be read: {error}.") from None
    if not table:
        return []
    head = [cell.lower() for cell in table[0]]
    image = next((at for at, cell in enumerate(head) if cell in _IMAGE), None)
    label = next((at for at, cell in enumerate(head) if cell in _LABEL), None)
    if image is not None and label is not None:
        group = head.index("group") if "group" in head else None
        return [_row(address, number, row, image, label, group) for number, row in enumerate(table[1:], 2)]
    if image is not None and len(head) > 1:
        raise UsageError(f"{address} line 1 names the column of the image, but not that of the label: call it label.")
    return [
        _vertex_row(address, number, row) if row[0].lower() in _ML_USE else _row(address, number, row, 0, 1, 2)
        for number, row in enumerate(table, 1)
    ]


def _vertex_row(address: str, number: int, row: list[str]) -> Row:
    if any(row[3:]):
        raise UsageError(f"{address} line {number}: {','.join(row)!r} names several labels; an image has one.")
    return _row(address, number, row, 1, 2, None)


def _row(address: str, number: int, row: list[str], image: int, label: int, group: int | None) -> Row:
    if len(row) <= max(image, label) or not row[image] or not row[label]:
        raise UsageError(f"{address} line {number}: {','.join(row)!r} does not name an image and its label.")
    return Row(row[image], row[label], row[group] if group is not None and len(row) > group else "")


def _json_rows(address: str, text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            image = found["image"] if "image" in found else found["imageGcsUri"]
            label = found["label"] if "label" in found else found["classificationAnnotation"]["displayName"]
            rows.append(Row(_text(image), _text(label), _text(found.get("group") or "")))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(f"{address} line {number} does not name an image and its label: {line[:80]!r}.") from None
    return rows


def _text(value: object) -> str:
    """Returns text or a whole number as text; raises TypeError for anything else and for nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value)
