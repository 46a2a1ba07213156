"""What was found out: one folder a training or evaluation, kept for ever."""

import datetime
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import StorageError
from pipeline.storage.base import Storage

FOLDER = "reports"
OUTCOME = "outcome.json"
DURATIONS = "durations.json"  # what a training's nodes took, where that was known only after its outcome was kept
KINDS = ("training", "evaluation")


def save(storage: Storage, kind: str, outcome: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Keeps an outcome (what JSON knows) and files that belong to it; returns the address of their folder."""
    if kind not in KINDS:
        raise ValueError(f"a report of kind {kind!r}, but there are {KINDS}")
    created = datetime.datetime.now(datetime.timezone.utc)
    text = json.dumps({**outcome, "kind": kind, "created": f"{created:%Y-%m-%dT%H:%M:%SZ}"}, indent=1)
    # The outcome comes last: a report without it does not exist.
    written = {**files, OUTCOME: f"{text}\n".encode()}
    stem = f"{kind}-{created:%Y%m%dT%H%M%SZ}"
    taken = [_order(name)[1] for name in storage.folders(FOLDER) if _NAME.fullmatch(name) and name.startswith(stem)]
    for number in itertools.count(1 + max(taken, default=0)):
        folder = f"{FOLDER}/{stem}-{number}"
        # Of several at once only one gets the number: the one that writes the first file.
        if all(storage.write(f"{folder}/{name}", data, create_only=True) for name, data in written.items()):
            return storage.address(folder)


def attach(storage: Storage, report: Mapping[str, Any], name: str, data: bytes) -> None:
    """Keeps a file with a report, as `every` and `newest` return it, which is there already; the first one stays."""
    storage.write(f"{_folder(report)}/{name}", data, create_only=True)


def attached(storage: Storage, report: Mapping[str, Any], name: str) -> bytes | None:
    """Returns what a file of a report holds, or None."""
    path = f"{_folder(report)}/{name}"
    return storage.read(path) if storage.exists(path) else None


def durations(storage: Storage, report: Mapping[str, Any]) -> list[dict]:
    """Returns what the nodes of a training took, [] where that is not known."""
    kept = None if "durations" in report else attached(storage, report, DURATIONS)
    return json.loads(kept) if kept else report.get("durations", [])


def every(storage: Storage, kind: str) -> list[dict]:
    """Returns the outcomes of a kind, oldest first, each with `kind`, `created` (UTC) and `address` of its folder."""
    names = _names(storage, kind)
    told = storage.read_each(f"{FOLDER}/{name}/{OUTCOME}" for name in names)
    return [_parsed(storage, *pair) for pair in zip(names, told, strict=True)]


def newest(storage: Storage, kind: str) -> dict | None:
    """Returns the newest outcome of a kind as `every` does, or None."""
    names = _names(storage, kind)
    return _parsed(storage, names[-1], storage.read(f"{FOLDER}/{names[-1]}/{OUTCOME}")) if names else None


def trained_spans(storage: Storage) -> set[int]:
    """Returns the spans that a training which ended was about, whether its model was released or not."""
    return {number for training in every(storage, "training") for number in training["spans"]}


_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d{{8}}T\d{{6}}Z)-(\d+)", re.ASCII)


def _folder(report: Mapping[str, Any]) -> str:
    return f"{FOLDER}/{report['address'].rstrip('/').rpartition('/')[2]}"


def _order(name: str) -> tuple[str, int]:
    _, created, number = _NAME.fullmatch(name).groups()
    return created, int(number)


def _names(storage: Storage, kind: str) -> list[str]:
    """Returns the folders that have an outcome, oldest first."""
    whole = (entry.name.split("/") for entry in storage.list(FOLDER))
    named = (_NAME.fullmatch(parts[1]) for parts in whole if parts[2:] == [OUTCOME])
    return sorted((match[0] for match in named if match and match[1] == kind), key=_order)


def _parsed(storage: Storage, name: str, outcome: bytes) -> dict:
    try:
        return json.loads(outcome) | {"address": storage.address(f"{FOLDER}/{name}")}
    except ValueError as error:
        address = storage.address(f"{FOLDER}/{name}/{OUTCOME}")
        raise StorageError(f"{address} cannot be read ({error}): restore it, or move its folder away.") from None
