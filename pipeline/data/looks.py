"""The looks of published images: a file of each span, made once for spans that were published without."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data import manifest, split
from pipeline.data.likeness import RECORD, VERSION, Looks, image_key
from pipeline.data.manifest import Listed, name_of
from pipeline.data.span import Span
from pipeline.errors import BrokenSpan
from pipeline.storage.base import Storage

NAME = f"looks-{VERSION}.bin"


@dataclass
class Published:
    """The looks of all published images."""

    records: np.ndarray  # of likeness.RECORD
    spans: list[Span]
    begins: np.ndarray  # the first record of each span

    def name(self, position: int) -> tuple[int, str]:
        """Returns the number of the span of an image, and its name there."""
        number, source = self.source(position)
        return number, source.name

    def source(self, position: int) -> tuple[int, Listed]:
        """Returns the number of the span of an image, and what span.json lists of it."""
        span = self.spans[int(np.searchsorted(self.begins, position, "right")) - 1]
        key = int(self.records["image"][position])
        for one in span.listed:
            if image_key(bytes.fromhex(one.sha256)) == key:
                return span.number, one
        raise BrokenSpan(name_of(span.number), f"{manifest.MANIFEST} does not list an image that {NAME} has")


def published(storage: Storage, spans: Sequence[Span]) -> Published:
    """Reads the looks of all images of the spans; makes them where a span has none."""
    spans = [span for span in spans if span.images]
    present = manifest.published_files(storage)
    for span in spans:
        if NAME not in present[span.number]:
            _make(storage, span)
    files = storage.read_each(span.file(NAME) for span in spans)
    found = [_parsed(*pair) for pair in zip(spans, files, strict=True)]
    lengths = [len(records) for records in found]
    begins = np.cumsum([0, *lengths])[:-1]
    return Published(np.concatenate([np.zeros(0, RECORD), *found]), spans, begins)


def _parsed(span: Span, data: bytes) -> np.ndarray:
    known = span.files.get(NAME)
    if len(data) % RECORD.itemsize or (known and hashlib.sha256(data).hexdigest() != known):
        raise BrokenSpan(name_of(span.number), f"{NAME} is not the file that was published")
    records = np.frombuffer(data, RECORD)
    if not span.corrections.images:
        return records
    records, kept = records.copy(), np.ones(len(records), bool)
    for sha256, image in span.corrections.images.items():
        these = records["image"] == image_key(bytes.fromhex(sha256))
        records["split"][these] = split.number_of(image.split)
        kept[these] = not image.withdrawn
    return records[kept]


def _make(storage: Storage, span: Span) -> None:
    made = Looks()
    groups = {source.sha256: source.group for source in span.listed}
    for side in manifest.SPLITS:
        for example in span.published_examples(side):
            group = groups.get(example.source, "")
            made.add(example.image, bytes.fromhex(example.source), split.number_of(side), group)
    storage.write(span.file(NAME), made.records().tobytes(), create_only=True)
