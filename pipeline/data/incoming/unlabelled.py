"""Pictures without a label that clients found hard, in `unlabelled/`, where a person labels them.

unlabelled/<sha256>.jpg    the picture as it came, or .png
unlabelled/<sha256>.json   what the models of the client said of it, and why it was sent; nothing in the loop reads it
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.data.images import MOST_BYTES, BadImage, check
from pipeline.storage.base import Storage, too_large

FOLDER = "unlabelled"
ENDINGS = (".jpg", ".png")
LONGEST_NOTE = 16_384  # bytes
_LONGEST_TEXT = 200  # characters of a label or a model's name
_REASONS = {"disagreement", "low confidence"}


class BadNote(ValueError):
    """A note that is not of the form that clients write; the message is the reason."""


@dataclass(frozen=True)
class Kept:
    """What is in `unlabelled/`."""

    pictures: int = 0
    bytes: int = 0  # of all files


def kept(storage: Storage) -> Kept:
    """Lists the pictures, without reading any."""
    pictures, size = 0, 0
    for entry in storage.list(FOLDER):
        pictures += entry.name.endswith(ENDINGS)
        size += entry.size
    return Kept(pictures, size)


def name_of(picture: bytes) -> str:
    """Returns the name that a picture has in `unlabelled/`, by its content alone."""
    ending = ".png" if picture.startswith(b"\x89PNG") else ".jpg"
    return hashlib.sha256(picture).hexdigest() + ending


def is_kept(storage: Storage, name: str) -> bool:
    return storage.exists(f"{FOLDER}/{name}")


def add(storage: Storage, picture: bytes) -> bool:
    """Keeps a picture; False where it is there already. Raises BadImage for what training could not use."""
    if len(picture) > MOST_BYTES:
        raise BadImage(too_large(MOST_BYTES))
    check(picture)
    return storage.write(f"{FOLDER}/{name_of(picture)}", picture, create_only=True)


def add_note(storage: Storage, digest: str, note: bytes) -> bool:
    """Keeps the note about the picture with this sha256; False where there is one already. Raises BadNote."""
    text = json.dumps(_read_note(note), indent=1)
    return storage.write(f"{FOLDER}/{digest}.json", f"{text}\n".encode(), create_only=True)


def _read_note(data: bytes) -> dict[str, Any]:
    """Returns the known fields of a note, checked."""
    if len(data) > LONGEST_NOTE:
        raise BadNote(f"it has more than {LONGEST_NOTE:,} bytes")
    try:
        found = json.loads(data)
        why, kept = found["why"], found["kept"]
        if not isinstance(why, list) or not _REASONS.issuperset(why):
            raise BadNote(f"`why` has to be a list of {' and '.join(sorted(_REASONS))}")
        opinions = {who: _opinion(found[who]) for who in ("device", "cloud")}
        return {"why": sorted(set(why)), **opinions, "kept": _text(kept)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise error if isinstance(error, BadNote) else BadNote(f"it cannot be read ({error!r:.100})") from None


def _opinion(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    confidence = given["confidence"]
    if not isinstance(confidence, int | float) or not 0 <= confidence <= 1.001:
        raise BadNote("a confidence has to be a number from 0 to 1")
    return {"label": _text(given["label"]), "confidence": confidence, "model": _text(given["model"])}


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise BadNote(f"labels, models and times are texts of at most {_LONGEST_TEXT} characters")
    return value
