"""A published span: what it holds, and its images, read only if they are what was published."""

import functools
import hashlib
import json
import logging
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.data import corrections, manifest, tfrecord
from pipeline.data.corrections import Corrections
from pipeline.data.manifest import FOLDER, Listed, name_of
from pipeline.data.tfrecord import Example
from pipeline.errors import BrokenSpan, ObjectNotFound
from pipeline.storage.base import Storage
from pipeline.storage.files import file_sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Span:
    """A published span."""

    number: int
    created: str  # UTC, ISO 8601
    images: int  # without those that were withdrawn
    labels: dict[str, int]  # as corrected
    _shards: dict[str, list[dict]]
    _storage: Storage
    files: dict[str, str] = field(default_factory=dict)  # {name: sha256} of what lies beside the shards
    corrections: Corrections = Corrections()
    erased: frozenset[str] = frozenset()  # sha256 of images that it does not hold any more

    def shards(self, split: str) -> list[str]:
        """Returns the addresses of the TFRecord files of a split; few images may leave one without any."""
        return [self._storage.address(name) for name in self.shard_names(split)]

    def shard_names(self, split: str) -> list[str]:
        """Returns the names in the workspace of the files whose addresses `shards` returns."""
        return [self.file(shard["name"]) for shard in self._shards.get(split, [])]

    def shards_listed(self, split: str) -> list[dict]:
        """Returns what span.json says of the files of a split."""
        return self._shards.get(split, [])

    def file(self, name: str) -> str:
        """Returns the name in the workspace of a file of this span."""
        return f"{FOLDER}/{name_of(self.number)}/{name}"

    def count(self, split: str) -> int:
        """Returns how many images of a split there are, as corrected."""
        return (
            sum(shard["images"] for shard in self._shards.get(split, []))
            + self.corrections.counts(self.erased)[1][split]
        )

    def examples(self, split: str) -> Iterator[Example]:
        """Reads the images of a split, as corrected; raises BrokenSpan."""
        corrected = self.corrections.images
        # An image that moved is in the shards of the other split.
        moved = any(image.split == split != image.published.split for image in corrected.values())
        for place in manifest.SPLITS if moved else (split,):
            for example in self.published_examples(place):
                image = corrected.get(example.source)
                if image is None:
                    if place == split:
                        yield example
                elif image.split == split and not image.withdrawn:
                    yield example._replace(label=image.label)

    def published_examples(self, split: str) -> Iterator[Example]:
        """Reads the images of a split as they were published; raises BrokenSpan."""
        for name in self.shard_names(split):
            with tempfile.TemporaryFile(prefix="spanloop-") as file:
                self.copy_shard(name, file)
                file.seek(0)
                try:
                    yield from map(tfrecord.parse, tfrecord.records(file, self._storage.address(name)))
                except (tfrecord.BrokenRecords, ValueError) as error:
                    raise BrokenSpan(name_of(self.number), str(error).rstrip(".")) from None

    def copy_shard(self, name: str, file: BinaryIO) -> None:
        """Writes a shard to a file open for reading, too; raises BrokenSpan unless it is what span.json says."""
        begin = file.tell()
        try:
            self._storage.copy_to(name, file)
        except ObjectNotFound:
            raise BrokenSpan(name_of(self.number), f"{self._short(name)} is missing") from None
        file.seek(begin)
        self.verify_shard(name, file)

    def verify_shard(self, name: str, file: BinaryIO) -> None:
        """Raises BrokenSpan unless an open file, read from where it stands, is the shard that span.json names."""
        if file_sha256(file) != self._checksums[self._short(name)]:
            raise BrokenSpan(name_of(self.number), f"{self._short(name)} is not the file that was published")

    def _short(self, name: str) -> str:
        return name.removeprefix(self.file(""))

    @functools.cached_property
    def _checksums(self) -> dict[str, str]:
        """Returns {shard: sha256}. Those of a span that names none are taken once, as its shards are then."""
        shards = [shard for shards in self._shards.values() for shard in shards]
        if all("sha256" in shard for shard in shards):
            return {shard["name"]: shard["sha256"] for shard in shards}
        try:
            return self._checksums_taken(shards)
        except ObjectNotFound:
            log.warning(
                "%s was made before checksums of shards were kept: its shards are accepted as they are now, and"
                " verified from now on.",
                name_of(self.number),
            )
        found = {shard["name"]: self._sum(shard["name"]) for shard in shards}
        self._storage.write(self.file(_CHECKSUMS), f"{json.dumps(found)}\n".encode(), create_only=True)
        return self._checksums_taken(shards)

    def _checksums_taken(self, shards: Collection[dict]) -> dict[str, str]:
        try:
            found = json.loads(self._storage.read(self.file(_CHECKSUMS)))
            return {shard["name"]: found[shard["name"]] for shard in shards}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BrokenSpan(name_of(self.number), f"{_CHECKSUMS} cannot be read ({error!r})") from None

    def _sum(self, shard: str) -> str:
        with tempfile.TemporaryFile(prefix="spanloop-") as file:
            self._storage.copy_to(self.file(shard), file)
            file.seek(0)
            return file_sha256(file)

    @functools.cached_property
    def listed(self) -> tuple[Listed, ...]:
        """What the span was made of, as published."""
        listed = tuple(manifest.sources(self.number, self._storage.read(manifest.manifest_of(self.number))))
        images = sum(shard["images"] for shards in self._shards.values() for shard in shards)
        if len(listed) != images:
            what = f"{manifest.MANIFEST} lists {len(listed):,} images, but its shards have {images:,}"
            raise BrokenSpan(name_of(self.number), what)
        return listed

    @property
    def sources(self) -> tuple[Listed, ...]:
        """What the span was made of, as corrected, without what was withdrawn."""
        if not self.corrections.images:
            return self.listed
        return tuple(filter(None, map(self._corrected, self.listed)))

    def _corrected(self, source: Listed) -> Listed | None:
        image = self.corrections.images.get(source.sha256)
        if image is None:
            return source
        return None if image.withdrawn else source._replace(label=image.label, split=image.split)

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of what span.json says of the shards, which names their sha256, and of the corrections."""
        shards = [shard for shards in self._shards.values() for shard in shards]
        if all("sha256" in shard for shard in shards):
            published = json.dumps([self.number, self.created, self._shards], sort_keys=True).encode()
        else:
            published = self._storage.read(manifest.manifest_of(self.number))
        return hashlib.sha256(published + self.corrections.digest.encode()).hexdigest()


_CHECKSUMS = "checksums.json"  # of the shards of a span whose span.json names none


def published(storage: Storage) -> list[Span]:
    """Returns all spans, sorted by number. A folder without span.json is not a span; raises BrokenSpan."""
    files = manifest.published_files(storage)
    ends = storage.read_each(map(manifest.manifest_of, files), last=manifest.SUMMARY_BYTES)
    return [_read(storage, number, files[number], end) for number, end in zip(files, ends, strict=True)]


def corrected_up_to(span: Span, last: int) -> Span:
    """Returns a span with no corrections after the number `last`."""
    if span.corrections.last <= last:
        return span
    storage = span._storage
    whole = storage.read(manifest.manifest_of(span.number))
    return _read(storage, span.number, manifest.published_files(storage)[span.number], whole, last)


def _read(storage: Storage, number: int, files: Collection[str], end: bytes, last: int | None = None) -> Span:
    found = manifest.summary(number, end if manifest.reaches_back(end) else storage.read(manifest.manifest_of(number)))
    erased = frozenset(found.get("erased", ()))
    corrected = corrections.read(storage, number, files, erased, last)
    labels, splits = corrected.counts(erased)
    labels.update(found["labels"])
    return Span(
        number,
        found["created"],
        found["images"] + splits.total(),
        {label: count for label, count in sorted(labels.items()) if count > 0},
        found["shards"],
        storage,
        found.get("files", {}),
        corrected,
        erased,
    )
