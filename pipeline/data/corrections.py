"""Corrections of a published span: labels, sides of the split, and images that are withdrawn.

They lie beside it as `corrections/00001.json`, `00002.json` and so on, each written only where there is none, and are
applied in this order wherever the span's images are read. So the span itself stays as it was published.
"""

import datetime
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.data import manifest
from pipeline.data.manifest import CORRECTIONS, FOLDER, Listed, correction_name, correction_number, name_of
from pipeline.errors import BrokenSpan
from pipeline.storage.base import Storage

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


def read(
    storage: Storage, number: int, files: Collection[str], erased: Collection[str], last: int | None = None
) -> Corrections:
    """Reads the corrections of a span that has these files, up to the number `last` where it is named.

    `erased` are the sha256 of images that span.json does not list any more. Raises BrokenSpan where a correction is
    damaged, or names another image that span.json does not list.
    """
    numbers = [one for one in sorted(map(correction_number, files)) if one and (last is None or one <= last)]
    if not numbers:
        return Corrections()
    corrections: list[_Correction] = []
    total = hashlib.sha256()
    for one, data in zip(numbers, storage.read_each(_path(number, one) for one in numbers), strict=True):
        total.update(data)
        try:
            corrections.append(_parsed(one, json.loads(data)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrokenSpan(name_of(number), f"{correction_name(one)} cannot be read ({error!r})") from None
    named = {image.sha256: one.number for one in reversed(corrections) for image in one.images}
    data = storage.read(manifest.manifest_of(number))
    published = {source.sha256: source for source in manifest.sources(number, data, named)}
    if unknown := named.keys() - published.keys() - set(erased):
        one = min(unknown, key=named.get)
        what = f"{correction_name(named[one])} corrects an image that {manifest.MANIFEST} does not list ({one})"
        raise BrokenSpan(name_of(number), what)
    return Corrections(numbers[-1], _applied(corrections, published), total.hexdigest())


class _Correction(NamedTuple):
    """A correction as it was read; what is "" or False stays as it is."""

    number: int
    images: list[Listed]
    label: str = ""
    split: str = ""
    withdrawn: str = ""  # why
    erase: bool = False


def _parsed(number: int, found: dict) -> _Correction:
    """Returns a correction from its JSON; raises KeyError, TypeError, AttributeError or ValueError where it is none."""
    kind, images = found["kind"], [manifest.listed(image) for image in found["images"]]
    if kind in (RELABEL, MOVE):
        field = {RELABEL: "label", MOVE: "split"}[kind]
        for image in images:
            manifest.checked(image._replace(**{field: found["to"]}))
        return _Correction(number, images, **{field: found["to"]})
    if kind != WITHDRAW:
        raise ValueError(kind)
    why, erase = found["why"], found["erase"]
    if not isinstance(why, str) or not isinstance(erase, bool):
        raise TypeError(f"why {why!r}, erase {erase!r}")
    return _Correction(number, images, withdrawn=why or "no reason given", erase=erase)


def _applied(corrections: Iterable[_Correction], published: Mapping[str, Listed]) -> dict[str, Corrected]:
    """Returns what is corrected of each image by its sha256; the first reason to withdraw one counts."""
    images: dict[str, Corrected] = {}
    for correction in corrections:
        for repeated in correction.images:
            # What span.json says of an image counts; of one that was erased it says nothing.
            before = published.get(repeated.sha256, repeated)
            image = images.setdefault(before.sha256, Corrected(before, before.label, before.split))
            image.label, image.split = correction.label or image.label, correction.split or image.split
            if correction.withdrawn and not image.withdrawn:
                image.withdrawn, image.withdrawn_by = correction.withdrawn, correction.number
            image.erase = image.erase or correction.erase
    return images


def write(storage: Storage, number: int, kind: str, images: Iterable[Listed], **what: object) -> int:
    """Adds a correction of images, as they are listed in span.json; returns its number."""
    created = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    listed = [image._asdict() for image in images]
    data = f"{json.dumps({'kind': kind, **what, 'created': created, 'images': listed})}\n".encode()
    folder = f"{FOLDER}/{name_of(number)}/"
    taken = (correction_number(entry.name.removeprefix(folder)) for entry in storage.list(f"{folder}{CORRECTIONS}"))
    for one in itertools.count(1 + max(taken, default=0)):
        if storage.write(_path(number, one), data, create_only=True):
            return one
    raise AssertionError("there is no last number")


def _path(number: int, one: int) -> str:
    return f"{FOLDER}/{name_of(number)}/{correction_name(one)}"
