"""Stored objects: bytes, checksums, generations and editable properties."""

import base64
import dataclasses
import datetime
import functools
import hashlib
from typing import Any

import google_crc32c

from tests.emulators.gcs.errors import bad_request

# An object's properties that clients may set: https://cloud.google.com/storage/docs/json_api/v1/objects
WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "customTime",
    "eventBasedHold",
    "metadata",
    "storageClass",
    "temporaryHold",
)


@dataclasses.dataclass(slots=True, eq=False)
class Object:
    """One generation of an object. `md5` is None for composed objects."""

    name: str
    data: bytes
    generation: int
    metageneration: int
    content_type: str
    crc32c: str  # base64
    md5: str | None  # base64
    created: float
    updated: float
    properties: dict[str, Any]  # of WRITABLE
    components: int = 0

    @property
    def etag(self) -> str:
        """The JSON API's ETag, which changes with every change of the object."""
        return base64.b64encode(b"%d/%d" % (self.generation, self.metageneration)).decode()

    @property
    def xml_etag(self) -> str:
        """The XML API's ETag: in quotes, the MD5 if the object has one."""
        text = base64.b64decode(self.md5).hex() if self.md5 else "-" + self.etag.rstrip("=")
        return f'"{text}"'

    @property
    def hashes(self) -> str:
        """The value of X-Goog-Hash."""
        return f"crc32c={self.crc32c}" + (f",md5={self.md5}" if self.md5 else "")


@dataclasses.dataclass(slots=True)
class Content:
    """Content of an uploaded object, verified against the client's checksums."""

    data: bytes
    content_type: str
    properties: dict[str, Any]
    crc32c: str
    md5: str | None
    components: int = 0

    @classmethod
    def of(
        cls,
        data: bytes,
        content_type: str = "",
        properties: dict[str, Any] | None = None,
        expected: dict[str, str] | None = None,
        components: int = 0,
    ) -> "Content":
        """Raises StorageError when the checksums of `data` differ from `expected` ("crc32c", "md5")."""
        found = {"crc32c": crc32c(data), "md5": md5(data)}
        for name, value in (expected or {}).items():
            if value != found[name]:
                word = {"crc32c": "CRC32C", "md5": "MD5 hash"}[name]
                raise bad_request(f'Provided {word} "{value}" doesn\'t match calculated {word} "{found[name]}".')
        return cls(
            data, content_type, properties or {}, found["crc32c"], None if components else found["md5"], components
        )


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@functools.lru_cache(1024)  # an object has the same timestamp in four fields
def timestamp(seconds: float) -> str:
    """Formats a time as RFC 3339 with milliseconds, as Google does."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def check_object_name(name: str) -> None:
    """Raises StorageError for an invalid object name: https://cloud.google.com/storage/docs/objects#naming"""
    if not name:
        raise bad_request("Required")
    if len(name.encode("utf-8", "surrogatepass")) > 1024:
        raise bad_request("The specified object name is too long: it may have 1024 bytes.")
    if "\n" in name or "\r" in name or name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise bad_request(f"Invalid object name {name!r}.")
