"""Images that came under two labels lie in `conflicts/`, each with a note of the other label beside it."""

import contextlib
import hashlib
import json
from collections.abc import Mapping

from pipeline.data.incoming.rejected import beside, holds
from pipeline.errors import StorageError
from pipeline.outcomes import Conflict
from pipeline.storage.base import Source, Storage, numbered_names

FOLDER = "conflicts"
_NOTE = ".conflict.json"


def copy(storage: Storage, conflict: Conflict, data: bytes) -> bool:
    """Keeps a copy of an image that stays where it is; False when there is one already."""
    for name in numbered_names(f"{FOLDER}/{conflict.name}"):
        new = storage.write(name, data, create_only=True, durable=False)
        if new or holds(storage, name, data):
            _note(storage, name, conflict, sha256_of(data))
            return new
    raise AssertionError("there is no last name")


def move(storage: Storage, conflict: Conflict, source: Source) -> bool:
    """Moves a collected image out of the way; False when it has changed meanwhile and deserves another look."""
    return storage.take(source, _prepare(storage, conflict, sha256_of(source.data)))


def move_all(storage: Storage, folder: str, conflicts: Mapping[Conflict, str]) -> list[Conflict]:
    """Moves images of a folder, by their sha256, and returns those that were there.

    All notes are written before the first image moves: one that is left alone would pass for undisputed. Killed in
    between, `finish` moves the others.
    """
    prepared = {conflict: _prepare(storage, conflict, sha256) for conflict, sha256 in conflicts.items()}
    return [
        conflict
        for conflict, name in prepared.items()
        if _move(storage, f"{folder}/{conflict.name}", conflicts[conflict], name)
    ]


def finish(storage: Storage, folder: str) -> None:
    """Moves the images of `folder` of which there is a note and no more, because a process was killed in between."""
    names = {entry.name for entry in storage.list(FOLDER)}
    complete = {beside(name, _NOTE) for name in names}
    for note in sorted(name for name in names if name.endswith(_NOTE) and name not in complete):
        with contextlib.suppress(StorageError, ValueError, KeyError, TypeError, RecursionError):
            kept = json.loads(storage.read(note))
            to = str(kept["kept_as"])
            if beside(to, _NOTE) == note:  # no other place, whatever a note says
                _move(storage, f"{folder}/{kept['name']}", kept["sha256"], to)


def _move(storage: Storage, path: str, sha256: str, to: str) -> bool:
    """Moves the file of this sha256 at `path`, or at a name that it got because that was taken."""
    for name in numbered_names(path):
        if not storage.exists(name):
            return False
        if sha256_of(storage.read(name)) == sha256:
            return storage.move(name, to)
    raise AssertionError("there is no last name")


def _prepare(storage: Storage, conflict: Conflict, sha256: str) -> str:
    """Writes the note first, so that no image lies there without one; returns the image's name."""
    names = numbered_names(f"{FOLDER}/{conflict.name}")
    name = next(name for name in names if not storage.exists(name) and not storage.exists(beside(name, _NOTE)))
    _note(storage, name, conflict, sha256)
    return name


def _note(storage: Storage, name: str, conflict: Conflict, sha256: str) -> None:
    note = {"sha256": sha256, "kept_as": name} | conflict.to_json()
    storage.write(beside(name, _NOTE), f"{json.dumps(note)}\n".encode(), durable=False)


def sha256_of(data: bytes) -> str:
    """Returns the hexadecimal sha256 of an image."""
    return hashlib.sha256(data).hexdigest()
