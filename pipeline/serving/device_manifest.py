"""What a device reads: the signed manifest of a model and the signed pointer of a channel, and how it checks both.

Needs no other file of this repository, so that an app in Python may copy it. A signed document is JSON whose last
field is `signature`, on a line of its own. The key signs the word `spanloop`, a space and the SHA-256, in hexadecimal,
of all bytes before the comma that precedes this line: no two programs have to agree on how JSON is written.

    {
     "kind": "spanloop-device-channel",
     "serial": 1764242719,
     "tag": "model-3",
     "signature": "q2j...=="
    }
"""

import base64
import dataclasses
import datetime
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

LARGEST_DOCUMENT = 4 << 20  # bytes
FORMAT = 1  # of both documents; a device refuses a later one

_SIGNED = re.compile(rb'(?P<signed>\{.*),\n "signature": "(?P<signature>[A-Za-z0-9+/]{86}==)"\n\}\n', re.DOTALL)


class DocumentRefused(Exception):
    """A document that a device must not act on: it keeps the model that it has."""


@dataclass(frozen=True)
class Manifest:
    """A device model: what it is made of, and what an app has to do with it. Never changes."""

    kind: ClassVar[str] = "spanloop-device-manifest"

    model: str  # name of the task
    tag: str  # release that it belongs to, such as model-3
    created: str  # UTC, ISO 8601
    file: str  # name beside the manifest
    bytes: int
    sha256: str  # of the file, hexadecimal
    labels: tuple[str, ...]  # in the order of the model's probabilities
    input: Mapping[str, Any]  # shape, dtype, range, resize, background
    quantization: str
    metrics: Mapping[str, Any]  # accuracy, images
    escalation_threshold: float | None  # confidence below which the cloud model is asked; None: never
    minimum_app_version: str  # such as 2.1.0; "" for any


@dataclass(frozen=True)
class Pointer:
    """A channel: the release that its devices are to have. Replaced by one with a larger serial."""

    kind: ClassVar[str] = "spanloop-device-channel"

    model: str
    channel: str  # "stable" or "beta"
    serial: int
    issued: str  # UTC, ISO 8601
    expires: str
    tag: str
    percent: int  # of devices that get `tag`
    previous: str | None  # release that the others get; None: they keep what they have
    rolled_back: str | None = None  # release that was taken back last; of interest to publishers only


Document = TypeVar("Document", Manifest, Pointer)


def sign(document: Manifest | Pointer, signature_of: Callable[[bytes], bytes]) -> bytes:
    """Returns a document with the signature that `signature_of` makes of a message."""
    fields = {"kind": document.kind, "format": FORMAT} | dataclasses.asdict(document)
    signed = json.dumps(fields, indent=1).removesuffix("\n}").encode()
    signature = base64.b64encode(signature_of(_message(signed)))
    return signed + b',\n "signature": "' + signature + b'"\n}\n'


def read_pointer(
    content: bytes,
    keys: Collection[str],
    *,
    model: str,
    channel: str,
    last_serial: int = 0,
    now: datetime.datetime | None = None,
) -> Pointer:
    """Returns the pointer of a channel. Raises DocumentRefused unless a device may act on it.

    `keys` are the public keys, PEM, that the app was built with; `last_serial` is that of the last pointer that it
    accepted, 0 before the first.
    """
    pointer = _read(content, keys, Pointer)
    if (pointer.model, pointer.channel) != (model, channel):
        raise DocumentRefused(f"it is channel {pointer.channel} of {pointer.model}, not {channel} of {model}")
    if pointer.serial < last_serial:
        raise DocumentRefused(f"its serial is {pointer.serial}, older than {last_serial}, which was accepted before")
    if parse_time(pointer.expires) <= (now or datetime.datetime.now(datetime.timezone.utc)):
        raise DocumentRefused(f"it expired at {pointer.expires}")
    return pointer


def read_manifest(
    content: bytes, keys: Collection[str], *, model: str, tag: str, app_version: str | None = None
) -> Manifest:
    """Returns the manifest of a release. Raises DocumentRefused unless a device may act on it.

    `app_version` is compared with the smallest one that the model is for.
    """
    manifest = _read(content, keys, Manifest)
    if (manifest.model, manifest.tag) != (model, tag):
        raise DocumentRefused(f"it is of {manifest.tag} of {manifest.model}, not of {tag} of {model}")
    if app_version and _version(app_version) < _version(manifest.minimum_app_version):
        raise DocumentRefused(f"{tag} is for apps from version {manifest.minimum_app_version} on")
    return manifest


def check_model(manifest: Manifest, data: bytes) -> None:
    """Raises DocumentRefused unless `data` are the bytes of the model that the manifest describes."""
    if len(data) != manifest.bytes or hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise DocumentRefused(f"{manifest.file} of {manifest.tag} is not the file that its manifest describes")


def tag_for(pointer: Pointer, device: str) -> str | None:
    """Returns the release that a device is to have; None: it keeps what it has.

    `device` is random text that the app made at its first start and keeps. The answer is the same each time, and a
    larger percentage only adds devices; which devices are first differs from release to release.
    """
    return pointer.tag if position(device, pointer.tag) < pointer.percent else pointer.previous


def position(device: str, tag: str) -> float:
    """Returns a device's position in the rollout of a release, evenly distributed in [0, 100)."""
    digest = hashlib.sha256(f"{device}\n{tag}".encode()).digest()
    return int.from_bytes(digest[:4], "big") * 100 / 2**32


def parse_time(text: str) -> datetime.datetime:
    """Reads a document's time, such as 2026-11-22T12:04:05Z. Raises DocumentRefused."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError as error:
        raise DocumentRefused(str(error)) from None


def _read(content: bytes, keys: Collection[str], kind: type[Document]) -> Document:
    """Returns a document that one of the keys has signed. Nothing of it is read before the signature is checked."""
    found = _SIGNED.fullmatch(content) if len(content) <= LARGEST_DOCUMENT else None
    if not found:
        raise DocumentRefused("it has no signature")
    message, signature = _message(found["signed"]), base64.b64decode(found["signature"])
    if not any(_is_signed(message, signature, key) for key in keys):
        raise DocumentRefused("it was altered, or signed with another key")
    return _parsed(found["signed"] + b"\n}", kind)


def _parsed(text: bytes, kind: type[Document]) -> Document:
    """Returns the document; fields that later versions added are ignored."""
    try:
        fields = json.loads(text)
        if (fields["kind"], fields["format"]) != (kind.kind, FORMAT):
            raise DocumentRefused(f"it is {fields['kind']}, format {fields['format']}, not {kind.kind}")
        known = {field.name: fields[field.name] for field in dataclasses.fields(kind)}
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentRefused(f"it cannot be read ({error!r})") from None
    return kind(**known | ({"labels": tuple(known["labels"])} if "labels" in known else {}))


def _message(signed: bytes) -> bytes:
    return b"spanloop " + hashlib.sha256(signed).hexdigest().encode()


def _is_signed(message: bytes, signature: bytes, pem: str) -> bool:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _version(text: str) -> list[int]:
    """Returns [2, 1] for "2.1" and "2.1.0"."""
    return [int(number) for number in re.sub(r"(\.0+)+$", "", text).split(".") if number.isdecimal()]
