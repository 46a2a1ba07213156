"""Removes the bytes of withdrawn images from the workspace.

First comes the correction that withdraws an image for ever; from then on nothing reads it. Then its span's shards are
written without it under new names, and span.json is replaced by one that names them and does not list it. Last, what
span.json does not name is deleted, and so are copies in the archive and elsewhere. Killed at any moment, the next call
does what is left.
"""

import functools
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from pipeline.data import automl_dataset, manifest, tfrecord
from pipeline.data.correcting import DOING
from pipeline.data.corrections import Corrected
from pipeline.data.incoming import collected, conflicts, rejected, unlabelled
from pipeline.data.manifest import FOLDER, Listed, name_of
from pipeline.data.span import Span, published
from pipeline.storage.base import Entry, Storage, map_in_order
from pipeline.storage.files import file_sha256

_PLACES = (
    "archive",
    collected.FOLDER,
    rejected.FOLDER,
    conflicts.FOLDER,
    unlabelled.FOLDER,
    f"{automl_dataset.FOLDER}/{automl_dataset.IMAGES}",
)

# What may hold copies that nothing here can find or remove.
OUT_OF_REACH = (
    "models that were trained with it: delete their releases, and train again",
    "pages and predictions of evaluations in reports/, which show images",
    "what a killed process left in .unfinished/ within the last day: a later `prepare-span` deletes it",
    "examples that local runs keep in pipeline_root/, or, for a bucket, below ~/.cache/spanloop",
    "inputs and outputs of batch predictions, and datasets of AutoML, on Vertex AI",
    "earlier versions of objects where the bucket keeps them (object versioning, soft delete), and backups",
)


def erase(storage: Storage) -> int:
    """Removes all images that are withdrawn for ever; returns how many files and examples were removed."""
    with storage.exclusive(DOING):
        spans = published(storage)
        digests = {image.published.sha256 for span in spans for image in _erased(span)}
        if not digests:
            return 0
        originals = {image.published.original for span in spans for image in _erased(span)} - {""}
        return sum(_rewrite(storage, span, digests) for span in spans) + sum(
            _delete_copies(storage, digests | originals)
        )


def _erased(span: Span) -> list[Corrected]:
    return [image for image in span.corrections.images.values() if image.erase]


def _rewrite(storage: Storage, span: Span, digests: Collection[str]) -> int:
    """Writes what is left of a span; returns how many examples were removed."""
    count = sum(source.sha256 in digests for source in span.listed)
    if count:
        shards = {split: list(_without(storage, span, split, digests)) for split in manifest.SPLITS}
        data = _manifest(storage, span, shards, digests)
        storage.write(manifest.manifest_of(span.number), data)
    else:
        shards = {split: span.shards_listed(split) for split in manifest.SPLITS}
    if _erased(span):
        _delete_unnamed(storage, span, shards)
    return count


def _without(storage: Storage, span: Span, split: str, digests: Collection[str]) -> Iterator[dict]:
    """Yields the shards of a split, written again under another name where one of the images is in them."""
    for shard in span.shards_listed(split):
        with tempfile.TemporaryFile(prefix="spanloop-") as file, tempfile.TemporaryFile(prefix="spanloop-") as rest:
            span.copy_shard(span.file(shard["name"]), file)
            file.seek(0)
            images = 0
            for record in tfrecord.records(file, shard["name"]):
                if tfrecord.parse(record).source not in digests:
                    tfrecord.append_record(rest, record)
                    images += 1
            if images == shard["images"]:
                yield shard
            elif images:
                name, size = f"{split}/{os.urandom(6).hex()}.tfrecord", rest.tell()
                rest.seek(0)
                digest = file_sha256(rest)
                rest.seek(0)
                storage.write(span.file(name), rest)
                yield {"name": name, "images": images, "bytes": size, "sha256": digest}


def _manifest(storage: Storage, span: Span, shards: Mapping[str, Sequence[dict]], digests: Collection[str]) -> bytes:
    """Returns span.json without the images; their looks are forgotten, and made again of those that are left."""
    summary = manifest.summary(span.number, storage.read(manifest.manifest_of(span.number)))
    summary.pop("sources", None)
    kept = [source for source in span.listed if source.sha256 not in digests]
    gone = span.erased.union(source.sha256 for source in span.listed if source.sha256 in digests)
    labels = Counter(source.label for source in kept)
    summary |= {"images": len(kept), "labels": dict(sorted(labels.items())), "shards": shards, "files": {}}
    summary |= {"erased": sorted(gone)}
    lines = ",\n".join(json.dumps(_fields(source)) for source in kept)
    return b'{"sources": [\n' + lines.encode() + manifest.END_OF_SOURCES + json.dumps(summary)[1:].encode() + b"\n"


def _fields(source: Listed) -> dict[str, str]:
    return {name: value for name, value in source._asdict().items() if value or name not in ("group", "original")}


def _delete_unnamed(storage: Storage, span: Span, shards: Mapping[str, Sequence[dict]]) -> None:
    """Deletes the shards that span.json does not name any more, and what was derived from them."""
    named = {span.file(shard["name"]) for of_split in shards.values() for shard in of_split}
    for entry in list(storage.list(f"{FOLDER}/{name_of(span.number)}")):
        if entry.name.endswith((".tfrecord", ".bin")) and entry.name not in named:
            storage.delete(entry.name)


def _delete_copies(storage: Storage, digests: Collection[str]) -> Iterator[int]:
    """Deletes copies of the images; yields 1 for each."""
    is_copy = functools.partial(_is_copy, storage, digests)
    for place in _PLACES:
        for entry, copy in map_in_order(storage, is_copy, list(storage.list(place))):
            if copy:
                storage.delete(entry.name)
                yield 1
    for digest in digests:
        storage.delete(f"{unlabelled.FOLDER}/{digest}.json")  # what models said of a copy there


def _is_copy(storage: Storage, digests: Collection[str], entry: Entry) -> bool:
    return hashlib.sha256(storage.read(entry.name)).hexdigest() in digests
