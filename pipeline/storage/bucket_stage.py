"""The stage of a span in a bucket: objects that have no effect until the manifest is moved.

Below `spans/`, for the number 3:

    .preparing/span-0003      reserves the number (created only where none exists); becomes the manifest
    span-0003/train/...       shards, which are ignored without a manifest
    .archiving/span-0003      lists the sources to archive; exists until all are archived
    span-0003/span.json       the manifest, moved here: from then on the span is published

Sources are moved only after that, each on condition of the generation that was read. So a killed preparation has
either published and moved nothing, or published all; then the next one archives the rest.

A process that was taken for dead may go on, so no step relies on a lease. Publishing moves the manifest on condition
of the generation that this process wrote. A preparation first reserves a number, then overwrites the drafts of other
processes, which can no longer be published, and only then reads which images the published spans have. So of two
concurrent preparations, the later reader has either stopped the other or knows its images.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pipeline.errors import ObjectNotFound
from pipeline.storage import bucket_batch
from pipeline.storage.bucket_client import Client
from pipeline.storage.bucket_sources import BucketSource

PREPARING, ARCHIVING = "spans/.preparing/", "spans/.archiving/"
_UPLOADS = 2  # shards uploaded while the next one is written


class Claim(NamedTuple):
    """A source of a span, and its name in the archive after publication; full names of objects."""

    object: str
    generation: str
    to: str


class BucketStage:
    """A Stage, as described above. `last` is the name of the manifest among its files."""

    def __init__(self, client: Client, object_name: Callable[[str], str], last: str):
        self._client, self._object, self._last = client, object_name, last
        self._name = ""  # once a number is reserved
        self._draft = None  # what this process wrote to .preparing/
        self._claimed: _Spooled | None = None
        self._released: set[str] = set()  # where claims would be archived that were taken back
        self._open: dict[str, _Spooled] = {}
        self._uploads: dict[str, concurrent.futures.Future] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(_UPLOADS)

    def take(self, name: str) -> bool:
        taken = self._client.write(self._object(PREPARING + name), b"")
        if taken is None:
            return False
        self._name, self._draft = name, taken
        if self._client.about(self._object(self._of_span(self._last))):
            # It was published after the numbers were listed.
            self._client.delete(self._object(PREPARING + name), taken.generation)
            self._name = ""
            return False
        for other, generation in self._begun(PREPARING).items():
            if other != name:
                self._stop(other, generation)
        # Only now, because a process that could not be stopped has just published.
        for span, generation in self._begun(ARCHIVING).items():
            self._finish(span, generation)
        return True

    def create(self, name: str) -> BinaryIO:
        self._open[name] = _Spooled(lambda file: self._upload(name, file))
        return self._open[name]

    def claim(self, source: BucketSource, folder: str) -> bool:
        if self._claimed is None:
            self._claimed = _Spooled()
            self._claimed.write(_line(self._object(self._of_span(self._last))))
        to = self._object(f"archive/{self._name}/{folder}/{source.name}")
        self._claimed.write(_line(Claim(source.object, source.generation, to)))
        return True

    def reopen(self, name: str) -> BinaryIO | None:
        to = self._object(self._of_span(name))
        if not self._uploads[to].result():
            return None
        file = tempfile.TemporaryFile(buffering=1 << 20)
        self._client.download(to, file)
        file.seek(0)
        return file

    def discard(self, name: str) -> None:
        to = self._object(self._of_span(name))
        written = self._uploads.pop(to).result()
        del self._open[name]
        if written:
            self._client.delete(to, written.generation)

    def release(self, name: str, folder: str) -> None:
        self._released.add(self._object(f"archive/{self._name}/{folder}/{name}"))

    def publish(self) -> bool:
        if not all([upload.result() for upload in self._uploads.values()]):
            return False  # a shard of that name existed: another process has the number
        draft, manifest = self._object(PREPARING + self._name), self._object(self._of_span(self._last))
        written = self._client.write(draft, self._open[self._last].whole(), self._draft.generation)
        if written is None:
            return False
        self._draft = written
        if self._released:
            self._claimed = self._without_released()
        mark = self._object(ARCHIVING + self._name)
        to_archive = self._claimed and self._client.write(mark, self._claimed.whole(), None)
        moved = self._client.move(draft, written.generation, manifest)
        if moved.status != 200 and not self._client.as_written(written.mark, manifest):
            if to_archive:
                self._client.delete(mark, to_archive.generation)
            return False
        self._name = ""  # nothing to undo
        if to_archive:
            self._archive(_claims(self._claimed.whole()))
            self._client.delete(mark, to_archive.generation)
        return True

    def undo(self) -> None:
        """Deletes what was written; sources are unchanged. After `publish` it does nothing."""
        # First the running uploads, which would otherwise end after the deletion.
        self._pool.shutdown(cancel_futures=True)
        for file in filter(None, (*self._open.values(), self._claimed)):
            file.discard()
        if self._name:
            # Not stopped: another process did so, or it is published and the answer was lost.
            stopped = self._stop(self._name, self._draft.generation)
            if stopped or not self._client.about(self._object(self._of_span(self._last))):
                self._remove(self._uploaded())
        self._name = ""

    def _without_released(self) -> "_Spooled":
        kept, before = _Spooled(), self._claimed.whole()
        kept.write(before.readline())  # names the manifest
        for line in before:
            if Claim(*json.loads(line)).to not in self._released:
                kept.write(line)
        self._claimed.discard()
        return kept

    def _upload(self, name: str, file: "_Spooled") -> None:
        if name != self._last:
            under_way = [upload for upload in self._uploads.values() if not upload.done()]
            if len(under_way) >= _UPLOADS:  # limits the shards on the disk
                concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            to = self._object(self._of_span(name))
            self._uploads[to] = self._pool.submit(self._written, to, file)

    def _written(self, to: str, file: "_Spooled"):
        with contextlib.closing(file.whole()) as whole:
            return self._client.write(to, whole)

    def _uploaded(self) -> Iterator[tuple[str, str]]:
        for name, upload in self._uploads.items():
            if not upload.cancelled() and not upload.exception() and upload.result():
                yield name, upload.result().generation

    def _begun(self, kind: str) -> dict[str, str]:
        """Returns {span: generation} of the objects below .preparing/ or .archiving/."""
        return {item["name"].rpartition("/")[2]: item["generation"] for item in self._client.items(self._object(kind))}

    def _of_span(self, name: str, span: str = "") -> str:
        return f"spans/{span or self._name}/{name}"

    def _stop(self, span: str, generation: str) -> bool:
        """Prevents the publication of a draft, and deletes its files; returns False without a draft."""
        draft = self._object(PREPARING + span)
        while not (stopped := self._client.write(draft, b"stopped", generation)):
            # Its manifest was just written, or it was published or undone.
            if (now := self._client.about(draft)) is None:
                return False
            generation = now["generation"]
        # The draft reserves the number, so the shards found now belong to no other process.
        if not self._client.about(self._object(self._of_span(self._last, span))):
            self._remove(
                (item["name"], item["generation"]) for item in self._client.items(self._object(self._of_span("", span)))
            )
        self._client.delete(draft, stopped.generation)
        return True

    def _finish(self, span: str, generation: str) -> None:
        """Archives the sources of a published span that its process left; drops the list of an unpublished one."""
        mark = self._object(ARCHIVING + span)
        with contextlib.suppress(ObjectNotFound):  # another process has just finished it
            self._archive(published(self._client, mark))
            self._client.delete(mark, generation)

    def _archive(self, claimed: Iterable[Claim]) -> None:
        # 404: another process moved it; 412: it arrived after it was read, and stays.
        _exhaust(bucket_batch.perform(self._client, (bucket_batch.move(self._client, *claim) for claim in claimed)))

    def _remove(self, objects: Iterable[tuple[str, str]]) -> None:
        _exhaust(bucket_batch.perform(self._client, (bucket_batch.delete(self._client, *one) for one in objects)))


def published(client: Client, mark: str) -> Iterator[Claim]:
    """Yields the claims in an object below .archiving/, if the manifest that its first line names exists."""
    with tempfile.TemporaryFile(buffering=1 << 20) as file:
        client.download(mark, file)
        file.seek(0)
        manifest = json.loads(file.readline() or '""')
        if manifest and client.about(manifest):
            file.seek(0)
            yield from _claims(file)


def _line(value: str | Claim) -> bytes:
    return f"{json.dumps(value)}\n".encode()


def _claims(file: BinaryIO) -> Iterator[Claim]:
    file.readline()  # the manifest's name
    return (Claim(*json.loads(line)) for line in file)


def _exhaust(statuses: Iterable[int]) -> None:
    collections.deque(statuses, maxlen=0)


class _Spooled:
    """A file of a stage, on the disk until it is complete, because an object is written as a whole."""

    def __init__(self, when_closed: "Callable[[_Spooled], None]" = lambda file: None):
        self._file = tempfile.TemporaryFile(buffering=1 << 20)
        self._when_closed = when_closed
        self._closed = False
        self.write = self._file.write

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._when_closed(self)

    def whole(self) -> BinaryIO:
        """Returns the file, at its beginning."""
        self._file.seek(0, os.SEEK_SET)
        return self._file

    def discard(self) -> None:
        self._closed = True
        self._file.close()
