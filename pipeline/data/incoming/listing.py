"""Files that list images with their labels: CSV and JSON lines, also those that Vertex AI imports.

CSV: `image,label` or `image,label,group`, with or without a header, or `ml_use,gs://...,label`. JSON lines: `image`,
`label` and `group`, or `imageGcsUri` and `classificationAnnotation` with its `displayName`
(https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data). An image is gs://bucket/name, or a
path from the folder of the list. What else a list has, such as a split of its own, is not used.
"""

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import StorageError, UsageError
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
    except (StorageError, UnicodeDecodeError) as error:
        raise UsageError(f"{address} cannot be read as a list of images: {error}") from None
    rows = _json_rows(address, text) if name.endswith(".jsonl") else _csv_rows(address, text)
    buckets: dict[str, Storage] = {}

    def read(row: Row) -> LabelledFile:
        return _read(place, buckets, row, max_bytes)

    if not rows:
        raise UsageError(f"{address} names no image: it should hold lines such as cat/1.jpg,cat.")
    for _, source in map_in_order(place, read, rows):
        yield source


def _read(place: Storage, buckets: dict[str, Storage], row: Row, max_bytes: int) -> LabelledFile:
    if row.image.startswith("gs://"):
        bucket, _, path = row.image.removeprefix("gs://").partition("/")
        place = buckets.setdefault(bucket, open_storage(f"gs://{bucket}"))
    elif row.image.startswith("/"):
        place, path = open_storage("/"), row.image[1:]
    else:
        path = row.image
    found = LabelledFile(_name_of(row), row.label, row.group)
    try:
        found.data = place.read(posixpath.normpath(path), last=max_bytes + 1)
    except (StorageError, ValueError) as error:  # ValueError: of a name that no file can have
        found.problem = f"cannot be read: {error}"
    if len(found.data) > max_bytes:
        found.data, found.problem = b"", too_large(max_bytes)
    return found


def _name_of(row: Row) -> str:
    """Returns `<label>/<image>`, each changed to what a file system takes for a name."""
    image = row.image.removeprefix("gs://").strip("/")
    return f"{_file_name(row.label)}/{_file_name(image)}"


def _file_name(text: str) -> str:
    name = re.sub(r"^\.|[/\0]", "_", text.encode("utf-8", "replace").decode())
    stem, ending = posixpath.splitext(name)
    return name if len(name.encode()) <= 255 else truncated_name(stem, ending[:20])


def _csv_rows(address: str, text: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text), strict=True)
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
    return [
        _row(address, number, row, 1, 2, None) if row[0].lower() in _ML_USE else _row(address, number, row, 0, 1, 2)
        for number, row in enumerate(table, 1)
    ]


def _row(address: str, number: int, row: list[str], image: int, label: int, group: int | None) -> Row:
    if len(row) <= max(image, label) or not row[image] or not row[label]:
        raise UsageError(f"{address} line {number}: {','.join(row)!r} does not name an image and its label.")
    return Row(row[image], row[label], row[group] if group is not None and len(row) > group else "")


def _json_rows(address: str, text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
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
