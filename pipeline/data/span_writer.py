"""A span while it is being written: shards and span.json, in memory no more than their last megabyte."""

import datetime
import hashlib
import json
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import BinaryIO

from pipeline.data import tfrecord
from pipeline.data.manifest import END_OF_SOURCES, MANIFEST, SPLITS, Listed
from pipeline.storage.base import Source, Stage

SHARD_BYTES = 64 * 2**20
_PIECE_BYTES = 2**20  # of a shard: writing and hashing each record alone costs more than the hash itself


class Draft:
    """What will be span `number` when its stage is published. An image is known by its position: 0, 1, 2 ..."""

    def __init__(self, stage: Stage, number: int):
        self.number = number
        self.images = 0
        self.labels: Counter[str] = Counter()
        self._stage = stage
        self._shards = {split: _Shards(stage, split) for split in SPLITS}
        self._files: dict[str, str] = {}
        # The sources, a line each. They wait here, because the side of the split is only known at the end.
        self._lines = tempfile.TemporaryFile(buffering=1 << 20)

    def add(self, source: Source, label: str, sha256: str, split: str, group: str = "", original: str = "") -> None:
        """Appends an image to its shard and lists it."""
        self._shards[split].add(self.images, tfrecord.of_image(source.data, label, self.number, sha256))
        group = f', "group": {quoted(group)}' if group else ""
        original = f', "original": "{original}"' if original else ""
        line = (
            f'{{"name": {quoted(source.name)}, "sha256": "{sha256}", "label": {quoted(label)}, '
            f'"split": "{split}", "generation": "{source.generation}"{group}{original}}},\n'
        )
        self._lines.write(line.encode())
        self.images += 1
        self.labels[label] += 1

    def listed(self, positions: Collection[int]) -> dict[int, Listed]:
        """Returns what is listed of some images."""
        found: dict[int, Listed] = {}
        if not positions:
            return found
        self._lines.seek(0)
        for position, line in enumerate(self._lines):
            if position in positions:
                found[position] = Listed(**json.loads(line.rstrip(b",\n")))
        return found

    def rearrange(self, moved: Mapping[int, str], dropped: Mapping[int, Callable[[bytes], None]]) -> bool:
        """Moves images to the split that is named, and takes others out, giving their bytes to a function.

        Only shards that these are in are written again. False when the number has become another process's.
        """
        for split, shards in self._shards.items():
            for shard in shards.close():
                positions = shards.positions[shard["name"]]
                if not any(at in dropped or moved.get(at, split) != split for at in positions):
                    continue
                file = self._stage.reopen(shard["name"])
                if file is None:
                    return False
                with file:
                    for at, record in zip(positions, tfrecord.records(file, shard["name"]), strict=True):
                        if at in dropped:
                            dropped[at](tfrecord.parse(record).image)
                        else:
                            self._shards[moved.get(at, split)].add(at, tfrecord.of_data(record))
                shards.remove(shard)
        self._rewrite_lines(moved, dropped)
        return True

    def attach(self, name: str, data: bytes) -> None:
        """Adds another file; span.json names its sha256."""
        file = self._stage.create(name)
        file.write(data)
        file.close()
        self._files[name] = hashlib.sha256(data).hexdigest()

    def finish(self) -> None:
        """Writes span.json. At least one image has to be there."""
        summary = {
            "span": self.number,
            "created": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
            "images": self.images,
            "labels": dict(sorted(self.labels.items())),
            "shards": {split: shards.close() for split, shards in self._shards.items()},
            "files": self._files,
        }
        manifest = self._stage.create(MANIFEST)
        manifest.write(b'{"sources": [\n')
        self._lines.seek(-2, 2)  # without the last comma
        self._lines.truncate()
        self._lines.seek(0)
        shutil.copyfileobj(self._lines, manifest, 1 << 20)
        manifest.write(END_OF_SOURCES + json.dumps(summary)[1:].encode() + b"\n")
        # The manifest comes last: a span without it does not exist.
        manifest.close()

    def close(self) -> None:
        """Forgets the list of sources."""
        self._lines.close()

    def _rewrite_lines(self, moved: Mapping[int, str], dropped: Collection[int]) -> None:
        before, self._lines = self._lines, tempfile.TemporaryFile(buffering=1 << 20)
        before.seek(0)
        with before:
            for at, line in enumerate(before):
                if at in moved or at in dropped:
                    source = json.loads(line.rstrip(b",\n"))
                    if at in dropped:
                        self.images -= 1
                        self.labels = self.labels - Counter([source["label"]])
                        continue
                    line = f"{json.dumps(source | {'split': moved[at]})},\n".encode()
                self._lines.write(line)


class _Shards:
    """The files of one split, none before there is something to write. Written and hashed a piece at a time."""

    def __init__(self, stage: Stage, split: str):
        self._stage, self._split = stage, split
        self._written: list[dict] = []
        self._file: BinaryIO | None = None
        self.positions: dict[str, array] = {}  # of the images of each file, in order

    def add(self, position: int, record: bytes) -> None:
        """Appends the record of an image."""
        if self._file is None:
            self._create()
        self._positions.append(position)
        self._waiting.append(record)
        self._bytes += len(record)
        if self._bytes >= SHARD_BYTES:
            self.close()
        elif self._bytes >= self._next_piece:
            self._write()

    def close(self) -> list[dict]:
        """Closes the last file; returns name, images, bytes and sha256 of each."""
        if self._file is not None:
            self._write()
            self._file.close()
            self._file = None
            images = {"images": len(self._positions), "bytes": self._bytes}
            self._written.append({"name": self._name} | images | {"sha256": self._sum.hexdigest()})
        return list(self._written)

    def remove(self, shard: dict) -> None:
        self._written.remove(shard)
        self._stage.discard(shard["name"])

    def _create(self) -> None:
        self._name = f"{self._split}/{len(self.positions):05d}.tfrecord"
        self._positions = self.positions[self._name] = array("Q")
        self._file, self._sum = self._stage.create(self._name), hashlib.sha256()
        self._waiting: list[bytes] = []  # records
        self._bytes, self._next_piece = 0, _PIECE_BYTES

    def _write(self) -> None:
        piece = b"".join(self._waiting)
        self._waiting, self._next_piece = [], self._bytes + _PIECE_BYTES
        self._file.write(piece)
        self._sum.update(piece)
