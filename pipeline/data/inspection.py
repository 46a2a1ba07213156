"""What published spans hold: labels, sides of the split, images that look alike, and how spans differ.

Drift is measured as TensorFlow Data Validation does, by L-infinity between shares of labels and by Jensen-Shannon
divergence, base 2, between distributions of numbers:
https://www.tensorflow.org/tfx/data_validation/get_started#checking_data_skew_and_drift.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data import likeness, looks, manifest, split
from pipeline.data.likeness import image_key
from pipeline.data.span import Span
from pipeline.storage.base import Storage

_BINS = 16  # of brightness levels 0 to 255, and of their standard deviation, 0 to 128


@dataclass(frozen=True)
class Drift:
    """How far the images of a span are from those of all spans before, each from 0, the same, to 1."""

    labels: float  # largest difference of a label's share
    label: str  # the label that has it
    brightness: float  # divergence of the images' mean brightness
    contrast: float  # divergence of the standard deviation of their brightness


@dataclass(frozen=True)
class Contents:
    """The images of a span, as corrected."""

    span: int
    images: int
    splits: Mapping[str, int]
    labels: Mapping[str, int]
    groups: int
    relabelled: int
    withdrawn: int
    brightness: float | None  # mean, 0 to 255; None without images
    drift: Drift | None  # None for the first span, and without images


@dataclass(frozen=True)
class Image:
    """A published image, by its name and label in its span."""

    span: int
    name: str
    label: str
    split: str
    sha256: str


@dataclass(frozen=True)
class Inspection:
    """What spans hold, and the sets of images that look alike in all of them: the largest first."""

    contents: Sequence[Contents]
    alike: Sequence[Sequence[Image]]

    @property
    def contradicting(self) -> Sequence[Sequence[Image]]:
        """The sets of images that look alike and have different labels: one of these may be wrong."""
        return [images for images in self.alike if len({image.label for image in images}) > 1]


def inspect(storage: Storage, spans: Sequence[Span]) -> Inspection:
    """Reads what the spans list and how their images look, but no image. Raises BrokenSpan."""
    spans = sorted(spans, key=lambda span: span.number)
    found = looks.published(storage, spans)
    bounds = [*found.begins.tolist(), len(found.records)]
    places = {span.number: slice(*bounds[at : at + 2]) for at, span in enumerate(found.spans)}
    contents: list[Contents] = []
    for span in spans:
        here = places.get(span.number, slice(0, 0))  # of a span that lost all of its images no looks are read
        contents.append(_contents(span, found.records[: here.start], found.records[here], contents))
    return Inspection(contents, list(_alike(found)))


def _contents(span: Span, before: np.ndarray, here: np.ndarray, others: Sequence[Contents]) -> Contents:
    sources = span.sources
    corrected = span.corrections.images.values()
    brightness = _brightness(here)
    return Contents(
        span=span.number,
        images=len(sources),
        splits={side: sum(source.split == side for source in sources) for side in manifest.SPLITS},
        labels=dict(span.labels),
        groups=len({source.group for source in sources} - {""}),
        relabelled=sum(not image.withdrawn and image.label != image.published.label for image in corrected),
        withdrawn=sum(bool(image.withdrawn) for image in corrected),
        brightness=float(brightness.mean()) if len(here) else None,
        drift=_drift(span.labels, before, here, others) if len(here) and len(before) else None,
    )


def _drift(labels: Mapping[str, int], before: np.ndarray, here: np.ndarray, others: Sequence[Contents]) -> Drift:
    earlier = sum((Counter(contents.labels) for contents in others), Counter())
    differences = {
        label: abs(labels.get(label, 0) / sum(labels.values()) - earlier[label] / earlier.total())
        for label in sorted({*labels, *earlier})
    }
    most = max(differences, key=differences.__getitem__)
    return Drift(
        labels=differences[most],
        label=most,
        brightness=divergence(_brightness(before), _brightness(here), 255),
        contrast=divergence(_contrast(before), _contrast(here), 128),
    )


def _brightness(records: np.ndarray) -> np.ndarray:
    return records["look"].mean(axis=1)


def _contrast(records: np.ndarray) -> np.ndarray:
    return records["look"].std(axis=1)


def divergence(first: np.ndarray, second: np.ndarray, top: float) -> float:
    """Returns the Jensen-Shannon divergence, base 2, of the histograms of two samples within [0, `top`]."""
    counts = [np.histogram(sample, _BINS, (0, top))[0] for sample in (first, second)]
    shares = [count / count.sum() for count in counts]
    middle = sum(shares) / 2
    return float(sum(_entropy_against(share, middle) for share in shares) / 2)


def _entropy_against(share: np.ndarray, other: np.ndarray) -> float:
    """Returns the Kullback-Leibler divergence in bits."""
    some = share > 0
    return float((share[some] * np.log2(share[some] / other[some])).sum())


def _alike(found: looks.Published) -> Iterator[list[Image]]:
    """Yields the sets of images that are connected by looking alike, the largest first."""
    records = found.records
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *likeness.near_pairs(records)])
    by_key = [{image_key(bytes.fromhex(source.sha256)): source for source in span.sources} for span in found.spans]
    for members in sorted(split.together(split.components(len(records), pairs)), key=len, reverse=True):
        images = []
        for position in members:
            place = int(np.searchsorted(found.begins, position, "right")) - 1
            source = by_key[place][int(records["image"][position])]
            images.append(Image(found.spans[place].number, source.name, source.label, source.split, source.sha256))
        yield images
