"""Storage in a bucket of Cloud Storage, or below a prefix of one.

An object's name allows less than a file's name: line breaks, bytes that are not UTF-8, and names of more than 1,024
bytes are replaced when an object is written.
"""

import concurrent.futures
import contextlib
import datetime
import functools
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeVar

from pipeline.errors import ObjectNotFound, StorageError
from pipeline.storage import bucket_client, bucket_objects
from pipeline.storage.base import (
    HIDDEN,
    NO_HEADERS,
    TOO_DEEP,
    DatedEntry,
    Kind,
    Storage,
    checked,
    map_in_order,
    too_large,
)
from pipeline.storage.bucket_client import THREADS
from pipeline.storage.bucket_lease import Lease
from pipeline.storage.bucket_sources import BucketSource, Wanted, each_in_order, read_all
from pipeline.storage.bucket_stage import ARCHIVING, BucketStage, published

T = TypeVar("T")

_LONGEST = 1024  # bytes
_MANIFESTS = 4  # files of any size, read ahead


class BucketEntry(NamedTuple):
    """A listed object."""

    name: str
    size: int
    generation: str


class Bucket(Storage):
    """Names are names of objects below gs://bucket/prefix."""

    concurrency = THREADS

    def __init__(self, address: str):
        self._address = address.rstrip("/")
        bucket, _, prefix = self._address.removeprefix("gs://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self.client = bucket_client.client(bucket)
        self._objects = bucket_objects.objects(self.client)
        self._room = threading.Semaphore(self.concurrency)

    def address(self, name: str = "") -> str:
        return f"gs://{self.client.bucket}/{self.object(name)}" if name else self._address

    def object(self, name: str) -> str:
        """Returns the object's name for `name`."""
        whole = self._prefix + checked(name, self._address)
        if whole.isascii() and whole.isprintable() and len(whole) <= _LONGEST:
            return whole
        text = re.sub("[\r\n]", lambda found: f"%{ord(found[0]):02X}", whole)
        encoded = text.encode("utf-8", "backslashreplace")
        if len(encoded) > _LONGEST:
            # Names may differ only in what is cut off.
            ending = f"~{hashlib.sha256(encoded).hexdigest()[:16]}".encode()
            encoded = encoded[: _LONGEST - len(ending)] + ending
        return encoded.decode("utf-8", "ignore")

    def list(self, prefix: str) -> Iterator[BucketEntry]:
        folder = f"{prefix}/" if prefix else ""
        begin = len(self.object(folder))
        for item in self.client.items(self.object(folder)):
            # Some programs create an object with a trailing slash for a folder.
            if not _hidden(item["name"], begin) and item["name"][-1] != "/":
                yield BucketEntry(item["name"][len(self._prefix) :], int(item["size"]), item["generation"])

    def list_all(self, prefix: str) -> Iterator[tuple[BucketEntry, Kind]]:
        return ((entry, Kind.FILE) for entry in self.list(prefix))

    def list_dated(self, prefix: str) -> Iterator[DatedEntry]:
        for item in self.client.items(self.object(f"{prefix}/"), "items(name,size,updated)"):
            modified = datetime.datetime.fromisoformat(item["updated"].replace("Z", "+00:00")).timestamp()
            yield DatedEntry(item["name"][len(self._prefix) :], int(item["size"]), modified)

    def folders(self, prefix: str) -> Sequence[str]:
        begin = self.object(f"{prefix}/" if prefix else "")
        pages = self.client.listing(begin, "prefixes", delimiter="/")
        found = [name[len(begin) : -1] for page in pages for name in page.get("prefixes", ())]
        return sorted(name for name in found if name and name[0] != ".")

    def read(self, name: str, last: int | None = None) -> bytes:
        return self.client.read(self.object(name), last)[0]

    def read_each(self, names: Iterable[str], last: int | None = None) -> Iterator[bytes]:
        return each_in_order(lambda name: self.read(name, last), names, _MANIFESTS)

    def copy_to(self, name: str, file: BinaryIO) -> None:
        self.client.download(self.object(name), file)

    def write(
        self,
        name: str,
        data: bytes | BinaryIO,
        create_only: bool = False,
        durable: bool = True,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> bool:
        if isinstance(data, bytes):
            return self._objects.write(self.object(name), data, create_only, headers) is not None
        return self.client.write(self.object(name), data, "0" if create_only else None, headers=headers) is not None

    def exists(self, name: str) -> bool:
        if self.client.about(self.object(name)):
            return True
        pages = self.client.listing(self.object(f"{name}/"), "items(name)", maxResults="1")
        return bool(next(pages).get("items"))

    def delete(self, name: str) -> None:
        self.client.delete(self.object(name))

    def delete_folder(self, name: str) -> None:
        names = (item["name"] for item in self.client.items(self.object(f"{name}/"), "items(name)"))
        for _ in map_in_order(self, self.client.delete, names):
            continue

    def move(self, name: str, to: str) -> bool:
        there = self.client.about(self.object(name))
        return bool(there) and self._moved(self.object(name), there["generation"], self.object(to))

    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        self._room.acquire()
        begun = self._threads.submit(function, *arguments)
        begun.add_done_callback(lambda _: self._room.release())
        return begun.result

    @functools.cached_property
    def _threads(self) -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(THREADS)

    def exclusive(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return Lease(self.client, self.object(f".{doing.replace(' ', '-')}.lock"), doing, self._address)

    def sources(self, prefix: str, max_bytes: int) -> Iterator[BucketSource]:
        return self._sources(prefix, max_bytes, frozenset())

    def unpublished(self, prefix: str) -> Iterator[BucketEntry]:
        taken = self._being_archived()
        return (
            entry
            for entry in self.list(prefix)
            if not taken or (self.object(entry.name), entry.generation) not in taken
        )

    def unpublished_sources(self, prefix: str, max_bytes: int) -> Iterator[BucketSource]:
        return self._sources(prefix, max_bytes, self._being_archived())

    def take(self, source: BucketSource, name: str) -> bool:
        return self._moved(source.object, source.generation, self.object(name))

    def _moved(self, whole_name: str, generation: str, to: str) -> bool:
        moved = self.client.move(whole_name, generation, to)
        if moved.status == 200 or not moved.again:
            return moved.status == 200
        # The first answer was lost; it was moved if it is gone from its old name and found under the new one.
        still = self.client.about(whole_name)
        return not (still and still["generation"] == generation) and self.client.about(to) is not None

    @contextlib.contextmanager
    def stage(self, prefix: str, last: str) -> Iterator[BucketStage]:
        stage = BucketStage(self.client, self.object, last)
        try:
            yield stage
        except BaseException:
            # The cause of the failure may also prevent undoing; then the next stage does it.
            with contextlib.suppress(StorageError):
                stage.undo()
            raise
        stage.undo()

    def _being_archived(self) -> set[tuple[str, str]]:
        """Returns (object, generation) of sources of published spans that are still to be archived."""
        found = set()
        for item in self.client.items(self.object(ARCHIVING)):
            with contextlib.suppress(ObjectNotFound):  # archiving has just ended
                found.update((claim.object, claim.generation) for claim in published(self.client, item["name"]))
        return found

    def _sources(self, prefix: str, max_bytes: int, without: set[tuple[str, str]]) -> Iterator[BucketSource]:
        folder = f"{prefix}/" if prefix else ""
        begin = len(self.object(folder))

        def wanted() -> Iterator[Wanted]:
            for item in self.client.items(self.object(folder), "items(name,size,generation,contentEncoding)"):
                whole, generation, size = item["name"], item["generation"], int(item["size"])
                name, is_packed = whole[begin:], item.get("contentEncoding") == "gzip"
                if name[-1:] in ("", "/") or (without and (whole, generation) in without):
                    continue
                if _hidden(whole, begin):
                    yield Wanted(name, whole, generation, size, HIDDEN)
                    continue
                problem = TOO_DEEP if name.count("/") > 1 else too_large(max_bytes) if size > max_bytes else ""
                yield Wanted(name, whole, generation, size, problem, is_packed)

        return read_all(self._objects, wanted(), max_bytes)


def _hidden(name: str, begin: int) -> bool:
    return name.startswith(".", begin) or name.find("/.", begin) >= 0
