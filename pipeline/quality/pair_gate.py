"""Are a cloud model and a device model good enough together? What a pair needs, and why one is refused."""

import collections
import dataclasses
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.formatting import percent, threshold
from pipeline.outcomes import Escalation
from pipeline.quality import comparison
from pipeline.quality.comparison import OVERALL, Finding, Pairs, Slice
from pipeline.quality.scores import wilson

MOST_DIFFERENCES = 24  # images on which both models differ that are kept: the most confident ones
STEPS = 100  # thresholds that are tried for escalation: this many quantiles of the device's confidence
REPEATED = 1e-5  # largest difference of a probability between two processes on one machine


@dataclass(frozen=True)
class PairRequirements:
    """What a pair needs to be released, besides what each of its models needs on its own."""

    agreement: float | None  # share of images on which both models give the same label; None: `Agreement.by_chance`
    margin: float  # accuracy that conversion may lose
    loss: float  # accuracy that a device which escalates may lose against the cloud model alone
    megabytes: float  # of the device model's file; 0: any
    milliseconds: float  # that it takes for an image; 0: any

    @classmethod
    def of(cls, config: Config) -> "PairRequirements":
        return cls(
            config.device_agreement,
            config.accuracy_margin,
            config.escalation_loss,
            config.device_megabytes,
            config.device_milliseconds,
        )


@dataclass(frozen=True)
class Difference:
    """An image (sha256 of its bytes) to which the models give different labels, each with its confidence."""

    source: str
    label: str
    cloud: str
    device: str
    cloud_confidence: float
    device_confidence: float


@dataclass
class Agreement:
    """What both models make of the same images, and the device model of before its conversion."""

    images: int = 0
    matrix: collections.Counter = field(default_factory=collections.Counter)  # {(cloud's, device's label): images}
    both_right: int = 0
    only_cloud: int = 0  # right
    only_device: int = 0
    lost: int = 0  # right before the conversion, wrong after it
    gained: int = 0
    changed: int = 0  # images that got another label by the conversion
    not_a_number: int = 0  # images for which the device model gives no probabilities
    differences: list[Difference] = field(default_factory=list)  # the most confident ones first
    escalation: Escalation | None = None

    def add(self, image: Difference, converted_from: str) -> None:
        """Counts an image, on which the models may agree; `converted_from` is the label before the conversion."""
        cloud, device, before = (given == image.label for given in (image.cloud, image.device, converted_from))
        self.images += 1
        self.matrix[image.cloud, image.device] += 1
        self.both_right += cloud and device
        self.only_cloud += cloud and not device
        self.only_device += device and not cloud
        self.lost += before and not device
        self.gained += device and not before
        self.changed += image.device != converted_from
        self.not_a_number += not math.isfinite(image.device_confidence)
        if image.cloud != image.device:
            self.differences[:] = heapq.nlargest(
                MOST_DIFFERENCES,
                [*self.differences, image],
                key=lambda of: (min(of.cloud_confidence, of.device_confidence), of.source),
            )

    @property
    def agreeing(self) -> int:
        return sum(images for (cloud, device), images in self.matrix.items() if cloud == device)

    @property
    def share(self) -> float | None:
        """Share of images to which both models give the same label; None without images."""
        return self.agreeing / self.images if self.images else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the share."""
        return wilson(self.agreeing, self.images) if self.images else None

    @property
    def by_chance(self) -> float:
        """The share on which models of these accuracies would be right together if they had nothing in common.

        Models that learned the same from the same images agree more often: they fail on the same images.
        """
        rights = (self.both_right + self.only_cloud) * (self.both_right + self.only_device)
        return rights / self.images**2 if self.images else 0.0

    @property
    def conversion(self) -> Pairs:
        """The device model after its conversion beside the one before."""
        return Pairs(self.images, self.both_right + self.only_device, self.lost, self.gained)

    def to_json(self) -> dict[str, Any]:
        matrix = [[*labels, images] for labels, images in sorted(self.matrix.items())]
        return dataclasses.asdict(dataclasses.replace(self, matrix=None)) | {"matrix": matrix}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Agreement":
        return cls(
            **read
            | {
                "matrix": collections.Counter({(cloud, device): n for cloud, device, n in read["matrix"]}),
                "differences": [Difference(**of) for of in read["differences"]],
                "escalation": Escalation.from_json(read["escalation"]) if read["escalation"] else None,
            }
        )


@dataclass(frozen=True)
class DeviceFile:
    """The file of a device model, and what it does on the machine that examines it."""

    bytes: int
    shape: tuple[int, ...]  # of its input; -1 for a side of any size
    operators: tuple[str, ...]  # that LiteRT has
    problem: str  # why no release may have it; "" without one
    milliseconds: float  # for an image, on one thread: the median
    machine: str
    repeated: float | None  # largest difference of a probability in a fresh process; None where that failed


def reasons(agreement: Agreement, file: DeviceFile, needed: PairRequirements) -> list[str]:
    """Returns why a pair is refused, a sentence each; none for a good one."""
    return [*_disagreement(agreement, needed.agreement), *_conversion(agreement, needed.margin), *_unfit(file, needed)]


def _disagreement(agreement: Agreement, needed: float | None) -> Iterator[str]:
    least = agreement.by_chance if needed is None else needed
    if agreement.images and agreement.interval[1] < least:
        low, high = agreement.interval
        limit = f"what unrelated models of their accuracies reach, {percent(least)}"
        if needed is not None:
            limit = f"the DEVICE_AGREEMENT {threshold(needed)}"
        yield (
            f"both models give the same label to {agreement.agreeing:,} of {agreement.images:,} images (95 % interval:"
            f" {percent(low)} to {percent(high)}), certainly below {limit}"
        )


def _conversion(agreement: Agreement, margin: float) -> Iterator[str]:
    if agreement.not_a_number:
        yield f"for {agreement.not_a_number:,} of {agreement.images:,} images the converted model gives no number"
    if not agreement.images:
        return
    pairs = agreement.conversion
    (whole,) = comparison.compare(Slice(OVERALL, "", pairs), [], margin)
    if whole.finding == Finding.WORSE:
        yield (
            f"conversion: {pairs.right:,} of {pairs.images:,} right, {pairs.current_right:,} before it:"
            f" {whole.finding.value} ({pairs.lost:,} lost, {pairs.gained:,} gained)"
        )


def _unfit(file: DeviceFile, needed: PairRequirements) -> Iterator[str]:
    if needed.megabytes and file.bytes > needed.megabytes * 1e6:
        size = f"{file.bytes / 1e6:.2f} MB"
        yield f"the device model's file has {size}, more than DEVICE_MEGABYTES ({needed.megabytes:g})"
    if needed.milliseconds and file.milliseconds > needed.milliseconds:
        yield (
            f"the device model takes {file.milliseconds:.1f} ms for an image on {file.machine}, more than"
            f" DEVICE_MILLISECONDS ({needed.milliseconds:g})"
        )
    if any(side < 1 for side in file.shape):
        yield f"the device model's input {list(file.shape)} has no fixed size, which LiteRT.js rejects"
    if file.problem:
        yield f"the device model's file: {file.problem}"
    if file.repeated is None:
        yield "the device model cannot be loaded in a fresh process"
    elif not file.repeated <= REPEATED:
        yield f"in a fresh process the device model's probabilities differ by {file.repeated:.2g}"


def escalation(
    confidence: Sequence[float], device_right: Sequence[bool], cloud_right: Sequence[bool], loss: float
) -> Escalation | None:
    """Returns the lowest threshold with which both models together lose at most `loss` against the cloud model.

    One element an image; `confidence` is the device model's. The device answers where its confidence reaches the
    threshold, the cloud model elsewhere. None without images.
    """
    given = np.nan_to_num(np.asarray(confidence, dtype=float))
    if not given.size:
        return None
    device, cloud = np.asarray(device_right, dtype=bool), np.asarray(cloud_right, dtype=bool)
    # from 0, where the device answers alone, to 1, where the cloud model answers all but what the device is sure of
    thresholds = np.unique([0.0, *np.quantile(given, np.linspace(0, 1, STEPS + 1)), 1.0])
    curve = [
        (float(least), float(asked.mean()), float(np.where(asked, cloud, device).mean()))
        for least in thresholds
        for asked in [given < least]
    ]
    enough = cloud.mean() - loss
    chosen = next((point for point in curve if point[2] >= enough), curve[-1])
    return Escalation(*chosen, curve=tuple(curve))
