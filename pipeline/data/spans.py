"""Spans: labelled images, published once under a number and never changed."""

import functools
import hashlib
import json
import re
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline.data import collected, rejected, tfrecord
from pipeline.data.images import MOST_BYTES, BadImage
from pipeline.data.span_writer import END_OF_SOURCES, MANIFEST, Draft
from pipeline.data.tfrecord import Example
from pipeline.errors import BrokenSpan, SpanNotFound, UsageError
from pipeline.outcomes import PreparedSpan, Rejected
from pipeline.storage.base import Source, Stage, Storage, numbered_names

FOLDER = "spans"


class Listed(NamedTuple):
    """A source as `span.json` lists it."""

    name: str
    sha256: str
    label: str
    split: str
    generation: str


@dataclass(frozen=True)
class Span:
    """A published span."""

    number: int
    created: str  # UTC, ISO 8601
    images: int
    labels: dict[str, int]
    _shards: dict[str, list[dict]]
    _storage: Storage

    def shards(self, split: str) -> list[str]:
        """Returns the addresses of the TFRecord files of a split; few images may leave one without any."""
        return [self._storage.address(name) for name in self.shard_names(split)]

    def shard_names(self, split: str) -> list[str]:
        """Returns the names in the workspace of the files whose addresses `shards` returns."""
        return [f"{FOLDER}/{name_of(self.number)}/{shard['name']}" for shard in self._shards[split]]

    def examples(self, split: str) -> Iterator[Example]:
        """Reads the images of a split; raises BrokenRecords."""
        for name in self.shard_names(split):
            with tempfile.TemporaryFile(prefix="spanloop-") as file:
                self._storage.copy_to(name, file)
                file.seek(0)
                yield from map(tfrecord.parse, tfrecord.records(file, self._storage.address(name)))

    @functools.cached_property
    def sources(self) -> tuple[Listed, ...]:
        """What the span was made of."""
        sources = json.loads(self._storage.read(_manifest(self.number)))["sources"]
        return tuple(Listed(*(source[key] for key in Listed._fields)) for source in sources)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of span.json, which names the sha256 of each image."""
        return hashlib.sha256(self._storage.read(_manifest(self.number))).hexdigest()


def published(storage: Storage) -> list[Span]:
    """Returns all spans, sorted by number. A folder without span.json is not a span."""
    numbers = _published_numbers(storage)
    ends = storage.read_each(map(_manifest, numbers), last=_SUMMARY_BYTES)
    return [_read(storage, *pair) for pair in zip(numbers, ends, strict=True)]


def select(selection: str, published: Sequence[Span]) -> tuple[int, ...]:
    """Returns the numbers that "1,2", "all" or "latest:N" mean, sorted; raises UsageError or SpanNotFound."""
    present = sorted(span.number for span in published)
    if selection == "all":
        return tuple(present)
    if latest := re.fullmatch(r"latest:([1-9]\d*)", selection, re.ASCII):
        return tuple(present[-int(latest[1]) :])
    if not re.fullmatch(r"\d+(\s*,\s*\d+)*", selection, re.ASCII):
        raise UsageError(f"--spans is {selection!r}, but has to be all, latest:N or numbers such as 1,2,11.")
    wanted = {int(number) for number in selection.split(",")}
    if missing := wanted.difference(present):
        raise SpanNotFound(missing, present)
    return tuple(sorted(wanted))


def prepare(storage: Storage, progress: Callable[[int], None] = lambda done: None) -> PreparedSpan:
    """Makes a span of what is in `collected/`; says `progress(images looked at)` now and then.

    Each image is at every instant either in `collected/` or in one published span, whenever this is killed and however
    many do it at once: they take turns. What arrives meanwhile waits for the next span. Images that cannot be used go
    to `rejected/`; those of a published span and second copies to the archive of the span that has them.
    """
    with storage.exclusive("preparing a span"):
        return _publish(storage, lambda: storage.sources(collected.FOLDER, MOST_BYTES), _Collected, progress)


@dataclass(frozen=True)
class Cleared:
    """What was moved out of `collected/` because it cannot be evaluated."""

    rejected: tuple[Rejected, ...] = ()  # unusable images, and second copies of collected ones
    archived: int = 0  # images that a span has already


def clear_collected(storage: Storage, progress: Callable[[int], None] = lambda done: None) -> Cleared:
    """Moves away what no evaluation can use, and leaves everything else in `collected/`.

    Unusable images and second copies go to `rejected/` with the reason, images that a span has to its archive.
    """
    bad, archived = [], 0
    with storage.exclusive("preparing a span"), storage.stage(collected.FOLDER, MANIFEST):
        known = Known(storage)
        for done, source in enumerate(storage.unpublished_sources(collected.FOLDER, MOST_BYTES), 1):
            if not done % collected.PROGRESS_EVERY:
                progress(done)
            try:
                collected.examine(source)
            except BadImage as problem:
                reason = str(problem)
            else:
                digest = hashlib.sha256(source.data).digest()
                holder = known.holder(digest)
                if holder is None:
                    known.add(digest)
                    continue
                if holder != THIS:
                    archived += _archive_duplicate(storage, source, holder)
                    continue
                reason = "the same bytes as another collected image"
            if rejected.move(storage, source, reason):
                bad.append(Rejected(source.name, reason))
    return Cleared(tuple(bad), archived)


def import_folder(storage: Storage, folder: str, progress: Callable[[int], None] = lambda done: None) -> PreparedSpan:
    """Makes a span of somebody's folder and leaves that as it is; copies what cannot be used to `rejected/`.

    Images that are in a span already are left out, so importing a folder twice makes no second span. Raises UsageError
    when there is no such folder or nothing in it.
    """
    with storage.exclusive("preparing a span"):
        return _publish(storage, lambda: collected.sources_of(folder), _Imported, progress)


def name_of(number: int) -> str:
    """Returns the name of a span's folder."""
    return f"span-{number:04d}"


def _numbers(storage: Storage, folder: str) -> list[int]:
    """Returns the numbers of the spans that have a folder in `folder`, sorted."""
    found = (re.fullmatch(r"span-(\d{4,})", name, re.ASCII) for name in storage.folders(folder))
    return sorted(int(match[1]) for match in found if match)


def _published_numbers(storage: Storage) -> list[int]:
    manifests = (
        re.fullmatch(rf"{FOLDER}/span-(\d{{4,}})/{MANIFEST}", entry.name, re.ASCII) for entry in storage.list(FOLDER)
    )
    return sorted(int(match[1]) for match in manifests if match)


def _manifest(number: int) -> str:
    return f"{FOLDER}/{name_of(number)}/{MANIFEST}"


def _read(storage: Storage, number: int, manifests_end: bytes) -> Span:
    _, end, summary = manifests_end.rpartition(END_OF_SOURCES)
    try:
        found = json.loads(b"{" + summary if end else storage.read(_manifest(number)))
        return Span(number, found["created"], found["images"], found["labels"], found["shards"], storage)
    except (ValueError, KeyError) as error:
        raise BrokenSpan(name_of(number), f"{MANIFEST} cannot be read ({error!r})") from None


_SUMMARY_BYTES = 64 * 2**10  # holds some two thousand labels; of more, the whole manifest is read


def _digests(manifest: bytes) -> Iterator[bytes]:
    """Yields the sha256 of each image of a span, without making objects of its whole manifest."""
    for match in re.finditer(rb'"sha256":\s*"([0-9a-f]{64})"', manifest):
        yield bytes.fromhex(match[1].decode())


class Known:
    """Which span has an image: exact, and eight bytes of memory for each image that was published."""

    def __init__(self, storage: Storage):
        self._spans = _published_numbers(storage)
        # the first five bytes of each sha256, then in three the place of its span in the list
        keys = array("Q")
        for place, manifest in enumerate(storage.read_each(map(_manifest, self._spans))):
            keys.extend(int.from_bytes(digest[:5], "big") << 24 | place for digest in _digests(manifest))
        self._keys = array("Q", sorted(keys))
        self._digests = functools.cache(lambda number: frozenset(_digests(storage.read(_manifest(number)))))
        self._new: set[bytes] = set()
        self.add = self._new.add  # remembers an image of the span that is being prepared

    def holder(self, digest: bytes) -> int | None:
        """Returns the number of the span that has the image, THIS for one that was added, None for a new image."""
        if digest in self._new:
            return THIS
        if not self._keys:
            return None
        first = int.from_bytes(digest[:5], "big")
        for at in range(bisect_left(self._keys, first << 24), len(self._keys)):
            if self._keys[at] >> 24 != first:
                break
            number = self._spans[self._keys[at] & 0xFFFFFF]
            if digest in self._digests(number):
                return number
        return None


THIS = 0  # the span that is being prepared


class _Fate(Protocol):
    """What becomes of a source. False when it has changed meanwhile and is left for another time."""

    def use(self, source: Source) -> bool:
        """It becomes part of the span."""

    def repeat(self, source: Source, holder: int) -> bool:
        """Its bytes are in the span `holder` already."""

    def reject(self, source: Source, reason: str) -> bool:
        """It cannot be used."""


def _publish(
    storage: Storage,
    read: Callable[[], Iterable[Source]],
    fate: Callable[[Storage, Stage], _Fate],
    progress: Callable[[int], None],
) -> PreparedSpan:
    rejected_once: dict[Rejected, None] = {}  # in order; one attempt may not be the last
    duplicates = 0
    while True:
        with storage.stage(collected.FOLDER, MANIFEST) as stage:
            draft = Draft(stage, _take_number(storage, stage))
            # Only now, because what is published before a number is taken has to be known.
            known = Known(storage)
            new_rejected, new_duplicates = _fill(storage, draft, read(), fate(storage, stage), known, progress)
            rejected_once |= dict.fromkeys(new_rejected)
            duplicates += new_duplicates
            if not draft.images:
                return PreparedSpan(rejected=tuple(rejected_once), duplicates=duplicates)
            draft.finish()
            if stage.publish():
                return PreparedSpan(
                    span=draft.number,
                    images=draft.images,
                    labels=dict(draft.labels),
                    rejected=tuple(rejected_once),
                    duplicates=duplicates,
                )
        # Somebody who takes no turns has published that number: all is as it was, so again with the next one.


def _take_number(storage: Storage, stage: Stage) -> int:
    number = 1 + max(_numbers(storage, FOLDER) + _numbers(storage, "archive"), default=0)
    while not stage.take(name_of(number)):
        number += 1
    return number


def _fill(
    storage: Storage,
    draft: Draft,
    sources: Iterable[Source],
    fate: _Fate,
    known: Known,
    progress: Callable[[int], None],
) -> tuple[list[Rejected], int]:
    """Adds the usable new images to a draft. Returns what was rejected, and the number of duplicates."""
    set_aside: list[tuple[Callable[[], bool], Rejected | None]] = []
    for done, source in enumerate(sources, 1):
        if not done % collected.PROGRESS_EVERY:
            progress(done)
        try:
            label = collected.examine(source)
        except BadImage as bad:
            set_aside.append((storage.submit(fate.reject, source, str(bad)), Rejected(source.name, str(bad))))
            continue
        digest = hashlib.sha256(source.data).digest()
        holder = known.holder(digest)
        if holder is not None:
            set_aside.append((storage.submit(fate.repeat, source, holder), None))
        elif fate.use(source):
            known.add(digest)
            draft.add(source, label, digest.hex())
    done = [bad for finish, bad in set_aside if finish()]
    return [bad for bad in done if bad], done.count(None)


def _archive_duplicate(storage: Storage, source: Source, holder: int) -> bool:
    """Moves a source to the archive of the span that has its bytes; False when it has changed meanwhile."""
    names = numbered_names(f"archive/{name_of(holder)}/duplicates/{source.name}")
    return storage.take(source, next(name for name in names if not storage.exists(name)))


class _Collected:
    """Collected images are moved to where they belong now."""

    def __init__(self, storage: Storage, stage: Stage):
        self._storage, self._stage = storage, stage

    def use(self, source: Source) -> bool:
        return self._stage.claim(source, "sources")

    def repeat(self, source: Source, holder: int) -> bool:
        if holder == THIS:
            return self._stage.claim(source, "duplicates")
        return _archive_duplicate(self._storage, source, holder)

    def reject(self, source: Source, reason: str) -> bool:
        return rejected.move(self._storage, source, reason)


class _Imported:
    """Somebody's folder stays as it is; copies are made."""

    def __init__(self, storage: Storage, stage: Stage):
        self._storage = storage

    def use(self, source: Source) -> bool:
        return source.unchanged()

    def repeat(self, source: Source, holder: int) -> bool:
        return True

    def reject(self, source: Source, reason: str) -> bool:
        rejected.copy(self._storage, source, reason)
        return True
