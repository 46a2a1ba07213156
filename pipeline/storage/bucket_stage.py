"""Where a span comes into being in a bucket: objects that mean nothing until one of them is moved.

Below `spans/`, for the number 3:

    .preparing/span-0003      takes the number (written only where there is none); holds the manifest in the end
    span-0003/train/...       shards, which are nothing without a manifest
    .archiving/span-0003      says which sources are to be archived; there until all are
    span-0003/span.json       the manifest, moved here: from that moment on the span is published

Sources are moved only after that, each on condition that it still is the generation that was read. So a preparation
that is killed has either published nothing and moved nothing, or published all; then the next one archives the rest.

One may go on that was taken for dead, so no step relies on a lease. To publish is to move the manifest on condition
that it is what this process wrote. Whoever prepares a span takes a number first. Then it overwrites all that others
have begun, which thereby cannot be published any more. Only then it looks which images the published spans hold. So of
two at once, the one that looked last has either stopped the other or knows its images.
"""

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
_UPLOADS = 2  # shards on their way while the next one is filled


class Claim(NamedTuple):
    """A source that a span was made of, and where it belongs once that is published; whole names."""

    object: str
    generation: str
    to: str


class BucketStage:
    """See above. `last` is the name of the manifest among the files of the stage."""

    def __init__(self, client: Client, object_name: Callable[[str], str], last: str):
        self._client, self._object, self._last = client, object_name, last
        self._name = ""  # once a number is taken
        self._draft = None  # what this process wrote to .preparing/
        self._claimed: _Spooled | None = None
        self._open: dict[str, _Spooled] = {}
        self._uploads: dict[str, concurrent.futures.Future] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(_UPLOADS)

    def take(self, name: str) -> bool:
        taken = self._client.write(self._object(PREPARING + name), b"")
        if taken is None:
            return False
        self._name, self._draft = name, taken
        if self._client.about(self._object(self._of_span(self._last))):
            # It was published since somebody looked which numbers there are.
            self._client.delete(self._object(PREPARING + name), taken.generation)
            self._name = ""
            return False
        for other, generation in self._begun(PREPARING).items():
            if other != name:
                self._stop(other, generation)
        # Only now, because one that could not be stopped any more has just published.
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

    def publish(self) -> bool:
        if not all([upload.result() for upload in self._uploads.values()]):
            return False  # a file of that name was there: the number has become somebody else's
        draft, manifest = self._object(PREPARING + self._name), self._object(self._of_span(self._last))
        written = self._client.write(draft, self._open[self._last].whole(), self._draft.generation)
        if written is None:
            return False
        self._draft = written
        mark = self._object(ARCHIVING + self._name)
        to_archive = self._claimed and self._client.write(mark, self._claimed.whole(), None)
        moved = self._client.move(draft, written.generation, manifest)
        if moved.status != 200 and not self._client.as_written(written.mark, manifest):
            if to_archive:
                self._client.delete(mark, to_archive.generation)
            return False
        self._name = ""  # there is nothing left to undo
        if to_archive:
            self._archive(_claims(self._claimed.whole()))
            self._client.delete(mark, to_archive.generation)
        return True

    def undo(self) -> None:
        """Removes what was written; sources were not touched. After `publish` there is nothing left to undo."""
        # First what is on its way: it would come to lie there after all the rest was removed.
        self._pool.shutdown(cancel_futures=True)
        for file in filter(None, (*self._open.values(), self._claimed)):
            file.discard()
        if self._name:
            # It could not be stopped: somebody else has, or else the answer was lost that it is published.
            stopped = self._stop(self._name, self._draft.generation)
            if stopped or not self._client.about(self._object(self._of_span(self._last))):
                self._remove(self._uploaded())
        self._name = ""

    def _upload(self, name: str, file: "_Spooled") -> None:
        if name != self._last:
            under_way = [upload for upload in self._uploads.values() if not upload.done()]
            if len(under_way) >= _UPLOADS:  # so that the disk need not hold more than a few
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
        """Returns {span: generation} of what is listed below .preparing/ or .archiving/."""
        return {item["name"].rpartition("/")[2]: item["generation"] for item in self._client.items(self._object(kind))}

    def _of_span(self, name: str, span: str = "") -> str:
        return f"spans/{span or self._name}/{name}"

    def _stop(self, span: str, generation: str) -> bool:
        """Makes sure that what was begun is never published, and removes it; False when there is no more of it."""
        draft = self._object(PREPARING + span)
        while not (stopped := self._client.write(draft, b"stopped", generation)):
            # Its manifest was written just now, or it is published, or given up.
            if (now := self._client.about(draft)) is None:
                return False
            generation = now["generation"]
        # As long as there is a draft, nobody else takes the number: what lies there now belongs to nobody.
        if not self._client.about(self._object(self._of_span(self._last, span))):
            self._remove(
                (item["name"], item["generation"]) for item in self._client.items(self._object(self._of_span("", span)))
            )
        self._client.delete(draft, stopped.generation)
        return True

    def _finish(self, span: str, generation: str) -> None:
        """Archives what the one who published a span did not get to; forgets what nobody has published."""
        mark = self._object(ARCHIVING + span)
        with contextlib.suppress(ObjectNotFound):  # somebody else has just finished it
            self._archive(published(self._client, mark))
            self._client.delete(mark, generation)

    def _archive(self, claimed: Iterable[Claim]) -> None:
        # What is gone was moved by somebody else, what is another generation arrived after it was read: both are fine.
        _all(bucket_batch.perform(self._client, (bucket_batch.move(self._client, *claim) for claim in claimed)))

    def _remove(self, objects: Iterable[tuple[str, str]]) -> None:
        _all(bucket_batch.perform(self._client, (bucket_batch.delete(self._client, *one) for one in objects)))


def published(client: Client, mark: str) -> Iterator[Claim]:
    """Yields what an object below .archiving/ lists; nothing unless the manifest is there that its first line names."""
    with tempfile.TemporaryFile(buffering=1 << 20) as file:
        client.download(mark, file)
        file.seek(0)
        manifest = json.loads(file.readline() or '""')
        if manifest and client.about(manifest):
            file.seek(0)
            yield from _claims(file)


def _line(told: str | Claim) -> bytes:
    return f"{json.dumps(told)}\n".encode()


def _claims(file: BinaryIO) -> Iterator[Claim]:
    file.readline()  # names the manifest
    return (Claim(*json.loads(line)) for line in file)


def _all(statuses: Iterable[int]) -> None:
    for _ in statuses:
        pass


class _Spooled:
    """A file of a stage: on the disk until it is whole, since an object is written at once or not at all."""

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
        """Returns the file, to be read from its beginning."""
        self._file.seek(0, os.SEEK_SET)
        return self._file

    def discard(self) -> None:
        self._closed = True
        self._file.close()
