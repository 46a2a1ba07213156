"""The section of a page about two models: what each gets right, where they differ, and what the device model takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.outcomes import DeviceOutcome, Metrics
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
    def pictures(self) -> list[tuple[Difference, Picture | None]]:
        return [(of, picture(self.images[of.source])) for of in self.agreement.differences if of.source in self.images]
