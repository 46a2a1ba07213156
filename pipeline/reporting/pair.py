"""The section of a page about two models: what each gets right, where they differ, and what the device model takes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.outcomes import DeviceOutcome, Escalation, Metrics
from pipeline.quality.pair_gate import Agreement, Difference
from pipeline.quality.scores import Evaluation, Score
from pipeline.reporting.pictures import Picture, picture


@dataclass(frozen=True)
class Both:
    """Accuracy of both models on a part of the images kept out of training."""

    name: str
    cloud: float | None
    device: float | None


@dataclass(frozen=True)
class Choices:
    """What every threshold of escalation would come to, drawn: positions in percent from the left and from the top."""

    low: float  # accuracy at the bottom
    high: float  # at the top
    line: str  # points of a polyline
    chosen: tuple[float, float]
    cloud: float  # from the top: the cloud model alone
    rows: Sequence[tuple[float, float, float]]  # some of the curve: threshold, share asked, accuracy


SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of images that the cloud is asked about: points that are listed


def choices(of: Escalation | None, cloud: float | None) -> Choices | None:
    """Returns the escalation curve, `cloud` being the accuracy of the cloud model alone; None without a curve."""
    if of is None or not of.curve or cloud is None:
        return None
    accuracies = [cloud, of.accuracy, *(accuracy for _, _, accuracy in of.curve)]
    low, high = math.floor(20 * min(accuracies)) / 20, math.ceil(20 * max(accuracies)) / 20
    low = low if low < high else high - 0.05

    def at(asked: float, accuracy: float) -> tuple[float, float]:
        return round(100 * asked, 2), round(100 * (high - accuracy) / (high - low), 2)

    line = " ".join("{},{}".format(*at(asked, accuracy)) for _, asked, accuracy in of.curve)
    rows = {min(of.curve, key=lambda point: abs(point[1] - share)) for share in SHARES}
    rows.add((of.threshold, of.escalated, of.accuracy))
    return Choices(low, high, line, at(of.escalated, of.accuracy), at(0, cloud)[1], sorted(rows))


@dataclass(frozen=True)
class Pair:
    """A cloud model and a device model; `images` has some on which they differ, by the sha256 of their bytes."""

    cloud: Metrics
    device: DeviceOutcome
    agreement: Agreement
    images: Mapping[str, bytes]

    most_rows = 100
    most_labels_in_a_matrix = 30

    @property
    def spans(self) -> list[Both]:
        return self._by(lambda metrics: metrics.per_span)

    @property
    def labels(self) -> list[Both]:
        return self._by(lambda metrics: metrics.per_label)

    def _by(self, part: Callable[[Metrics], Mapping[str, float | None]]) -> list[Both]:
        """Returns all in their order, or of too many those that the device model is worst at."""
        of_device = part(self.device.metrics)
        found = [Both(name, cloud, of_device.get(name)) for name, cloud in part(self.cloud).items()]
        if len(found) > self.most_rows:
            found = sorted(found, key=lambda both: both.device or 0.0)[: self.most_rows]
        return found

    @property
    def agreeing(self) -> Score:
        return Score(self.agreement.agreeing, self.agreement.images)

    @cached_property
    def matrix(self) -> Evaluation:
        """What the device model says, by what the cloud model says."""
        return Evaluation(self.agreement.matrix)

    @property
    def neither(self) -> int:
        """Images that both models get wrong."""
        counted = self.agreement
        return counted.images - counted.both_right - counted.only_cloud - counted.only_device

    @cached_property
    def choices(self) -> Choices | None:
        counted = self.agreement
        alone = (counted.both_right + counted.only_cloud) / counted.images if counted.images else None
        return choices(self.device.escalation, alone)

    @cached_property
    def pictures(self) -> list[tuple[Difference, Picture | None]]:
        return [(of, picture(self.images[of.source])) for of in self.agreement.differences if of.source in self.images]
