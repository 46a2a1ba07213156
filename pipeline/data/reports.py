"""What was found out: one folder a training or evaluation, kept for ever."""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.data.storage import Storage
from pipeline.errors import StorageError

FOLDER = "reports"
OUTCOME = "outcome.json"
KINDS = ("training", "evaluation")


def save(storage: Storage, kind: str, outcome: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Keeps an outcome (what JSON knows) and files that belong to it; returns the address of their folder."""
    if kind not in KINDS:
        raise ValueError(f"a report of kind {kind!r}, but there are {KINDS}")
    created = datetime.datetime.now(datetime.timezone.utc)
    with storage.exclusive("reporting"):
        stem = f"{kind}-{created:%Y%m%dT%H%M%SZ}"
        taken = [_order(name)[1] for name in storage.folders(FOLDER) if name.startswith(f"{stem}-")]
        folder = f"{FOLDER}/{stem}-{1 + max(taken, default=0)}"
        for name, data in files.items():
            storage.write(f"{folder}/{name}", data)
        # The outcome comes last: a report without it does not exist.
        text = json.dumps({**outcome, "kind": kind, "created": f"{created:%Y-%m-%dT%H:%M:%SZ}"}, indent=1)
        storage.write(f"{folder}/{OUTCOME}", f"{text}\n".encode())
    return storage.address(folder)


def every(storage: Storage, kind: str) -> list[dict]:
    """Returns the outcomes of a kind, oldest first, each with `kind`, `created` (UTC) and `address` of its folder."""
    return [report for name in _names(storage, kind) if (report := _read(storage, name))]


def newest(storage: Storage, kind: str) -> dict | None:
    """Returns the newest outcome of a kind as `every` does, or None."""
    return next((report for name in reversed(_names(storage, kind)) if (report := _read(storage, name))), None)


def trained_spans(storage: Storage) -> set[int]:
    """Returns the spans that a training which ended was about, whether its model was released or not."""
    return {number for training in every(storage, "training") for number in training["spans"]}


_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d{{8}}T\d{{6}}Z)-(\d+)", re.ASCII)


def _order(name: str) -> tuple[str, int]:
    _, created, number = _NAME.fullmatch(name).groups()
    return created, int(number)


def _names(storage: Storage, kind: str) -> list[str]:
    named = (match for match in map(_NAME.fullmatch, storage.folders(FOLDER)) if match and match[1] == kind)
    return sorted((match[0] for match in named), key=_order)


def _read(storage: Storage, name: str) -> dict | None:
    outcome = f"{FOLDER}/{name}/{OUTCOME}"
    if not storage.exists(outcome):
        return None
    try:
        return json.loads(storage.read(outcome)) | {"address": storage.address(f"{FOLDER}/{name}")}
    except ValueError as error:
        address = storage.address(outcome)
        raise StorageError(f"{address} cannot be read ({error}): restore it, or move its folder away.") from None
