"""Corrections of a published span: labels, sides of the split, and images that are withdrawn.

They lie beside it as `corrections/00001.json`, `00002.json` and so on, each written only where there is none, and are
applied in this order wherever the span's images are read. So the span itself stays as it was published.
"""

import datetime
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.data import manifest
from pipeline.data.manifest import FOLDER, Listed, name_of
from pipeline.errors import BrokenSpan
from pipeline.storage.base import Storage

_NAME = re.compile(r"corrections/(\d{5,9})\.json", re.ASCII)
RELABEL, MOVE, WITHDRAW = "relabel", "move", "withdraw"


@dataclass
class Corrected:
    """What is corrected of an image."""

    published: Listed
    label: str
    split: str
    withdrawn: str = ""  # why, "" for an image that is not
    withdrawn_by: int = 0  # number of the correction
    erase: bool = False  # withdrawn for ever: its bytes are to be removed


@dataclass(frozen=True)
class Corrections:
    """All corrections of a span, or the first of them."""

    last: int = 0  # number of the last one
    images: Mapping[str, Corrected] = field(default_factory=dict)  # by sha256
    digest: str = ""  # of the files, "" without any

    def counts(self, erased: Collection[str] = ()) -> tuple[Counter, Counter]:
        """Returns how many more images of each label there are, and of each split; fewer where it is negative.

        Images whose sha256 are in `erased` are counted nowhere any more.
        """
        labels, splits = Counter(), Counter()
        for image in (image for sha256, image in self.images.items() if sha256 not in erased):
            labels[image.published.label] -= 1
            splits[image.published.split] -= 1
            if not image.withdrawn:
                labels[image.label] += 1
                splits[image.split] += 1
        return labels, splits


def read(storage: Storage, number: int, files: Collection[str], last: int | None = None) -> Corrections:
    """Reads the corrections of a span that has these files, up to the number `last` where it is named."""
    present = sorted(int(match[1]) for match in map(_NAME.fullmatch, files) if match)
    numbers = [one for one in present if last is None or one <= last]
    if not numbers:
        return Corrections()
    images: dict[str, Corrected] = {}
    total = hashlib.sha256()
    for one, data in zip(numbers, storage.read_each(_path(number, one) for one in numbers), strict=True):
        total.update(data)
        try:
            _apply(images, one, json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrokenSpan(name_of(number), f"{_file(one)} cannot be read ({error!r})") from None
    return Corrections(numbers[-1], images, total.hexdigest())


def _apply(images: dict[str, Corrected], number: int, correction: dict) -> None:
    for listed in map(manifest.listed, correction["images"]):
        image = images.setdefault(listed.sha256, Corrected(listed, listed.label, listed.split))
        if correction["kind"] == RELABEL:
            image.label = manifest.listed(listed._asdict() | {"label": correction["to"]}).label
        elif correction["kind"] == MOVE:
            image.split = manifest.listed(listed._asdict() | {"split": correction["to"]}).split
        elif correction["kind"] == WITHDRAW:
            image.withdrawn_by = image.withdrawn_by or number
            image.withdrawn = image.withdrawn or str(correction["why"]) or "no reason given"
            image.erase = image.erase or bool(correction["erase"])
        else:
            raise ValueError(correction["kind"])


def write(storage: Storage, number: int, kind: str, images: Iterable[Listed], **what: object) -> int:
    """Adds a correction of images, as they are listed in span.json; returns its number."""
    created = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    listed = [image._asdict() for image in images]
    data = f"{json.dumps({'kind': kind, **what, 'created': created, 'images': listed})}\n".encode()
    folder = f"{FOLDER}/{name_of(number)}/"
    names = [entry.name.removeprefix(folder) for entry in storage.list(f"{folder}corrections")]
    taken = (int(match[1]) for match in map(_NAME.fullmatch, names) if match)
    for one in itertools.count(1 + max(taken, default=0)):
        if storage.write(_path(number, one), data, create_only=True):
            return one
    raise AssertionError("there is no last number")


def _file(one: int) -> str:
    return f"corrections/{one:05d}.json"


def _path(number: int, one: int) -> str:
    return f"{FOLDER}/{name_of(number)}/{_file(one)}"
