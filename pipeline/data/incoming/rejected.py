"""What could not be used lies in `rejected/`, each with its reason in a file beside it."""

import hashlib
import os

from pipeline.errors import StorageError
from pipeline.storage.base import HIDDEN, Source, Storage, numbered_names, truncated_name

FOLDER = "rejected"


def move(storage: Storage, source: Source, reason: str) -> bool:
    """Moves what could not be used out of the way; False when it has changed meanwhile and deserves another look.

    What is hidden stays where it is, since it may be a file on its way, and is named each time.
    """
    if source.problem == HIDDEN:
        return True
    name = next(name for name in numbered_names(f"{FOLDER}/{source.name}") if not storage.exists(name))
    # The reason comes first, so that nothing lies there without one, should this process be killed in between.
    _say(storage, name, reason)
    try:
        moved = storage.take(source, name)
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            return True  # it stays where it is and is named each time; the others go on
        raise
    if not moved and not storage.exists(name):  # else somebody was faster, and it is their reason now
        storage.delete(_reason(name))
    return moved


def erase(storage: Storage, source: Source, reason: str) -> bool:
    """Keeps only the reason and deletes the file; False when it has changed meanwhile and deserves another look."""
    # Moved first, because only that notices a change; to where `erasing` finds it, should this process be killed then.
    name = next(name for name in numbered_names(f"{FOLDER}/{source.name}") if not storage.exists(name))
    if not storage.take(source, name):
        return False
    storage.delete(name)
    note(storage, source, reason)
    return True


def note(storage: Storage, source: Source, reason: str) -> None:
    """Keeps only the reason."""
    _say(storage, f"{FOLDER}/{source.name}", reason)


def copy(storage: Storage, source: Source, reason: str) -> bool:
    """Keeps a copy of what could not be used of somebody else's folder; of a link or folder only the reason.

    False when it is there already. Of what is hidden nothing is kept.
    """
    if source.problem == HIDDEN:
        return True
    for name in numbered_names(f"{FOLDER}/{source.name}"):
        copied = bool(source.problem) or storage.write(name, source.data, create_only=True, durable=False)
        if copied or holds(storage, name, source.data):
            _say(storage, name, reason)
            return copied


def holds(storage: Storage, name: str, data: bytes) -> bool:
    """True when `name` is a file with exactly these bytes."""
    try:
        return storage.read(name) == data
    except StorageError:
        return False


def _say(storage: Storage, name: str, reason: str) -> None:
    storage.write(_reason(name), f"{reason}\n".encode("utf-8", "backslashreplace"), durable=False)


def _reason(name: str) -> str:
    return beside(name, ".reason.txt")


def beside(name: str, ending: str) -> str:
    """Returns the name of a file beside the file `name`: the same with another ending."""
    folder, _, last = name.rpartition("/")
    if len(os.fsencode(last + ending)) > 255:  # as long as a name can be: what is cut off may be all that differs
        ending = f"~{hashlib.sha256(os.fsencode(last)).hexdigest()[:8]}{ending}"
    return f"{folder}/{truncated_name(last, ending)}"
