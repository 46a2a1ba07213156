"""Both models of a run of the AutoML pipeline on the images for evaluation, counted as TFX's Evaluator counts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.batch.predictor import Classification
from pipeline.data import automl_dataset
from pipeline.data.span import Span
from pipeline.data.tfrecord import Example
from pipeline.errors import UndecodedImages
from pipeline.quality import pair_gate
from pipeline.quality.pair_gate import Agreement, Difference
from pipeline.quality.release_gate import Tallies
from pipeline.quality.tally import Tally

REMEDY = "Withdraw them: `python -m ci withdraw NAME --why broken`, then train again."

Labels = Mapping[str, str]  # {sha256 of an image: a model's label}


@dataclass
class Counted:
    """What both models make of the images for evaluation, beside the models of the current release if there is one."""

    cloud: Tallies = field(default_factory=lambda: Tallies(Tally(), {}, {}))
    device: Tallies = field(default_factory=lambda: Tallies(Tally(), {}, {}))
    agreement: Agreement = field(default_factory=Agreement)
    undecoded: set[str] = field(default_factory=set)  # sha256 of images that one of the models has no answer for


def count(
    spans: Sequence[Span],
    cloud: Mapping[str, Classification],
    device: Callable[[Iterable[bytes]], Iterable[Classification | None]],
    current: tuple[Labels, Labels] | None,
    loss: float,
) -> Counted:
    """Counts the answers of both models; `current` are those of the current release's models.

    `loss` is the accuracy that a device which escalates may lose. Raises UndecodedImages where more than one in a
    hundred images has no answer.
    """
    counted = Counted()
    confidences, cloud_right, device_right = [], [], []
    examples = list(_places(spans))
    for (span, example), of_device in zip(examples, device(_images(spans)), strict=True):
        of_cloud = cloud.get(example.source)
        if of_cloud is None or of_device is None:
            counted.undecoded.add(example.source)
            continue
        before = [of.get(example.source) for of in current] if current else [None, None]
        _add(counted.cloud, span, example, of_cloud, before[0])
        _add(counted.device, span, example, of_device, before[1])
        # AutoML converts the model itself, and shows only what it becomes
        difference = Difference(
            example.source, example.label, of_cloud.label, of_device.label, of_cloud.confidence, of_device.confidence
        )
        counted.agreement.add(difference, of_device.label)
        confidences.append(of_device.confidence)
        cloud_right.append(of_cloud.label == example.label)
        device_right.append(of_device.label == example.label)
    if UndecodedImages.too_many(len(counted.undecoded), len(examples)):
        raise UndecodedImages(sorted(counted.undecoded), len(examples), REMEDY)
    counted.agreement.escalation = pair_gate.escalation(confidences, device_right, cloud_right, loss)
    for tallies in (counted.cloud, counted.device):
        for of in (tallies.spans, tallies.labels):
            ordered = {name: of[name] for name in sorted(of)}
            of.clear()
            of.update(ordered)
    return counted


def first_images(spans: Sequence[Span], pixels: Callable[[bytes], np.ndarray], number: int) -> np.ndarray:
    """Returns the first images for evaluation that can be decoded, float32 [n, H, W, C]."""
    found = []
    for image in _images(spans):
        try:
            found.append(pixels(image))
        except OSError:
            continue
        if len(found) == number:
            break
    return np.stack(found)


def _add(tallies: Tallies, span: int, example: Example, found: Classification, current: str | None) -> None:
    by_span = tallies.spans.setdefault(str(span), Tally())
    by_label = tallies.labels.setdefault(example.label, Tally())
    for tally in (tallies.overall, by_span, by_label):
        # every label of a dataset has images for training: automl_dataset.check
        tally.add(example.source, example.label, found.label, found.confidence, True, current)


def _images(spans: Iterable[Span]) -> Iterator[bytes]:
    return (example.image for span in spans for example in span.examples(automl_dataset.EVAL))


def _places(spans: Iterable[Span]) -> Iterator[tuple[int, Example]]:
    """Yields (number of the span, example without its image): there may be more images than memory holds."""
    for span in spans:
        for example in span.examples(automl_dataset.EVAL):
            yield span.number, example._replace(image=b"")
