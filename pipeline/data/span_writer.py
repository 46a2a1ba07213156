"""A span while it is being written: shards and span.json, in memory no more than their last megabyte."""

import datetime
import json
from collections import Counter
from json.encoder import encode_basestring_ascii as quoted

from pipeline.data import tfrecord
from pipeline.storage.base import Source, Stage

MANIFEST = "span.json"
SPLITS = ("train", "eval")
SHARD_BYTES = 64 * 2**20

# The end of the sources in span.json. JSON has no newline within a string, so it is nowhere else, and what follows, the
# summary, can be read without the sources.
END_OF_SOURCES = b"\n],\n"


class Draft:
    """What will be span `number` when its stage is published."""

    def __init__(self, stage: Stage, number: int):
        self.number = number
        self.images = 0
        self.labels: Counter[str] = Counter()
        self._stage = stage
        self._shards = {split: _Shards(stage, split) for split in SPLITS}

    def add(self, source: Source, label: str, sha256: str) -> None:
        """Appends an image to its shard and lists it."""
        if not self.images:
            self._manifest = self._stage.create(MANIFEST)
        split = split_of(sha256)
        self._shards[split].add(source.data, label, self.number, sha256)
        line = (
            f'{{"name": {quoted(source.name)}, "sha256": "{sha256}", "label": {quoted(label)}, '
            f'"split": "{split}", "generation": "{source.generation}"}}'
        )
        self._manifest.write(f"{',' if self.images else _BEGIN}\n{line}".encode())
        self.images += 1
        self.labels[label] += 1

    def finish(self) -> None:
        """Writes what is known only now. At least one image has to be there."""
        summary = {
            "span": self.number,
            "created": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "images": self.images,
            "labels": dict(sorted(self.labels.items())),
            "shards": {split: shards.finish() for split, shards in self._shards.items()},
        }
        self._manifest.write(END_OF_SOURCES + json.dumps(summary)[1:].encode() + b"\n")
        # The manifest comes last: a span without it does not exist.
        self._manifest.close()


_BEGIN = '{"sources": ['


class _Shards:
    """The files of one split, none before there is something to write."""

    def __init__(self, stage: Stage, split: str):
        self._stage, self._split = stage, split
        self._written: list[dict] = []
        self._file = None

    def add(self, image: bytes, label: str, span: int, sha256: str) -> None:
        if self._file is None:
            shard = {"name": f"{self._split}/{len(self._written):05d}.tfrecord", "images": 0, "bytes": 0}
            self._written.append(shard)
            self._shard, self._file = shard, self._stage.create(shard["name"])
        self._shard["images"] += 1
        self._shard["bytes"] += tfrecord.append(self._file, image, label, span, sha256)
        if self._shard["bytes"] >= SHARD_BYTES:
            self.finish()

    def finish(self) -> list[dict]:
        """Closes the last file; returns name, images and bytes of each."""
        if self._file is not None:
            self._file.close()
            self._file = None
        return self._written


def split_of(sha256: str) -> str:
    """Returns an image's split, from the hexadecimal sha256 of its bytes alone: the same in every run."""
    return "eval" if sha256 < "33" else "train"  # 51 of 256
