"""A dataset for AutoML on Vertex AI: images of spans as files, and the import file that lists them.

Limits and formats: https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data and
https://cloud.google.com/vision/automl/quotas.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.data.exporting import suffix
from pipeline.data.manifest import SPLITS
from pipeline.data.span import Span
from pipeline.data.tfrecord import Example
from pipeline.errors import InvalidDataset
from pipeline.formatting import counted
from pipeline.storage.base import Storage, map_in_order

TRAIN, EVAL = SPLITS
FOLDER = "datasets"  # in the workspace
IMAGES = "images"  # in the folder: one file an image, for all datasets
IMPORT_FILE, INSTANCES = "import.jsonl", "eval.jsonl"
TRAINING, VALIDATION, TEST = "training", "validation", "test"
ML_USE = "aiplatform.googleapis.com/ml_use"  # label of a data item by which AutoML splits the dataset

# Parameters of a prediction: every label with its confidence. By default AutoML keeps back those that are improbable.
# https://cloud.google.com/vertex-ai/docs/image-data/classification/get-predictions
ALL_LABELS = {"confidenceThreshold": 0.0, "maxPredictions": 5_000}

MOST_IMAGE_BYTES = 30 * 2**20
FEWEST_LABELS, MOST_LABELS = 2, 5_000
FEWEST_IMAGES_OF_LABEL = 10
MOST_IMAGES = 1_000_000

_VALIDATION = "1a"  # an image for training whose key is smaller is for validation: 26 of 256
_MIME_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class Dataset:
    """Where a dataset lies, and how many images it has for each use."""

    import_file: str  # address of JSON lines with image, label, use and span
    instances: str  # address of JSON lines for a batch prediction of the images for evaluation
    uses: dict[str, int]  # {training, validation or test: images}

    @property
    def images(self) -> int:
        return sum(self.uses.values())


def export(spans: Sequence[Span], to: Storage, progress: Callable[[int], None] = lambda done: None) -> Dataset:
    """Writes the images of spans, as corrected, to `to`, and the files that list them to a folder of their sha256.

    Images for evaluation are AutoML's test set; of those for training, about one in ten is for validation. Images that
    are there already are not written again, so an export that was interrupted goes on. Raises InvalidDataset.
    """
    validation = _validation(spans)
    present = {entry.name for entry in to.list(IMAGES)}
    uses: Counter[str] = Counter()
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(prefix="spanloop-") as listed, tempfile.TemporaryFile(prefix="spanloop-") as instances:
        for item, _ in map_in_order(to, lambda item: _write(to, present, item), _items(spans, validation)):
            line = f"{json.dumps(_imported(to, item))}\n".encode()
            listed.write(line)
            digest.update(line)
            if item.use == TEST:
                instances.write(f"{json.dumps(instance(to.address(item.name)))}\n".encode())
            uses[item.use] += 1
            if not uses.total() % 200:
                progress(uses.total())
        folder = digest.hexdigest()
        for name, file in ((INSTANCES, instances), (IMPORT_FILE, listed)):
            file.seek(0)
            to.write(f"{folder}/{name}", file, create_only=True)
    return Dataset(to.address(f"{folder}/{IMPORT_FILE}"), to.address(f"{folder}/{INSTANCES}"), dict(uses))


def file_of(digest: str, image: bytes) -> str:
    """Returns the name of an image's file by its sha256."""
    return f"{IMAGES}/{digest}.{suffix(image)}"


def instance(address: str) -> dict[str, str]:
    """Returns an instance of a batch prediction by an AutoML model."""
    return {"content": address, "mimeType": _MIME_TYPES[address.rpartition(".")[2]]}


def digest_of(address: str) -> str:
    """Returns the sha256 of the image that a dataset has at this address."""
    return address.rpartition("/")[2].partition(".")[0]


def check(spans: Iterable[Span]) -> None:
    """Raises InvalidDataset when AutoML would refuse a dataset of these spans; reads no image."""
    uses: dict[str, Counter[str]] = {}
    for span in spans:
        for source in span.sources:
            uses.setdefault(source.label, Counter())[source.split] += 1
    images = sum(counts.total() for counts in uses.values())
    if images > MOST_IMAGES:
        raise InvalidDataset(f"there are {images:,} images, but it takes at most {MOST_IMAGES:,}")
    if not FEWEST_LABELS <= len(uses) <= MOST_LABELS:
        raise InvalidDataset(
            f"there are {counted(len(uses), 'label')}, but it takes {FEWEST_LABELS} to {MOST_LABELS:,}"
        )
    for label, counts in sorted(uses.items()):
        if counts.total() < FEWEST_IMAGES_OF_LABEL:
            found = counted(counts.total(), "image")
            raise InvalidDataset(f"label {label!r} has {found}, but it takes at least {FEWEST_IMAGES_OF_LABEL} a label")
        if counts[TRAIN] < 2:
            raise InvalidDataset(f"label {label!r} has not two images for training, one of which is for validation")
    if not any(counts[EVAL] for counts in uses.values()):
        raise InvalidDataset("no image is for evaluation, so there is no test set")


class _Item(NamedTuple):
    """An image of a dataset."""

    span: int
    example: Example
    use: str

    @property
    def name(self) -> str:
        return file_of(self.example.source, self.example.image)


def _items(spans: Iterable[Span], validation: Collection[str]) -> Iterator[_Item]:
    for span in spans:
        for split in (TRAIN, EVAL):
            for example in span.examples(split):
                use = TEST if split == EVAL else VALIDATION if example.source in validation else TRAINING
                yield _Item(span.number, example, use)


def _write(to: Storage, present: Collection[str], item: _Item) -> None:
    if len(item.example.image) > MOST_IMAGE_BYTES:
        what = f"image {item.example.source} of span {item.span} has {len(item.example.image) / 1e6:.0f} MB"
        raise InvalidDataset(f"{what}, but it takes at most {MOST_IMAGE_BYTES >> 20} MB")
    if item.name not in present:
        to.write(item.name, item.example.image, create_only=True, durable=False)


def _imported(to: Storage, item: _Item) -> dict[str, object]:
    return {
        "imageGcsUri": to.address(item.name),
        "classificationAnnotation": {"displayName": item.example.label},
        "dataItemResourceLabels": {ML_USE: item.use, "span": str(item.span)},
    }


def _validation(spans: Iterable[Span]) -> set[str]:
    """Returns the sha256 of the images for training that are AutoML's validation set.

    The contents decide, the same in each run, and a group is on one side. Each label has an image on both sides: where
    that chooses none of a label, the group or image that comes first is for validation, and where it chooses all, its
    last image is for training.
    """
    keys: dict[str, dict[str, str]] = {}  # {label: {sha256 of an image: key}}
    for span in spans:
        for source in span.sources:
            if source.split == TRAIN:
                of_label = keys.setdefault(source.label, {})
                of_label[source.sha256] = hashlib.sha256((source.group or source.sha256).encode()).hexdigest()
    chosen = {key for of_label in keys.values() for key in of_label.values() if key < _VALIDATION}
    chosen |= {min(of_label.values()) for of_label in keys.values() if chosen.isdisjoint(of_label.values())}
    found = set()
    for of_label in keys.values():
        order = sorted(of_label, key=lambda sha256: (of_label[sha256], sha256))
        of_validation = [sha256 for sha256 in order if of_label[sha256] in chosen]
        found.update(of_validation[: len(order) - 1])
    return found
