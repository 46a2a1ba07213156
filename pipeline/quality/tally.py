"""A metric of TFMA that counts, slice by slice, what two models get right of the same images and what they mistake.

Its value is the JSON of a `Tally`. It comes from the same pass over the images as all other metrics.
"""

import collections
import dataclasses
import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2  # TFX 1.21 has these messages nowhere else

from pipeline.quality.comparison import Pairs

ACCURACY, TALLY = "accuracy", "tally"
WORST = 24  # mistakes that are kept of a slice: the most confident ones


@dataclass(frozen=True)
class Mistake:
    """An image (sha256 of its bytes) that the candidate gets wrong; `confidence` is the probability of `predicted`."""

    source: str
    label: str
    predicted: str
    confidence: float


@dataclass
class Tally:
    """What the candidate makes of the images of a slice, beside the current model where there is one."""

    images: int = 0
    right: int = 0
    lost: int = 0
    gained: int = 0
    unknown: int = 0  # of a label that the candidate does not know, so that it cannot but be wrong
    confusion: collections.Counter = field(default_factory=collections.Counter)  # {(true, predicted label): images}
    mistakes: list[Mistake] = field(default_factory=list)  # the most confident ones first

    @property
    def pairs(self) -> Pairs:
        return Pairs(self.images, self.right, self.lost, self.gained)

    def add(self, source: str, label: str, predicted: str, confidence: float, known: bool, current: str | None) -> None:
        """Counts one image; `known`: the candidate knows its label; `current`: the current model's prediction."""
        self.images += 1
        self.confusion[label, predicted] += 1
        right, was_right = predicted == label, current == label
        self.right += right
        self.unknown += not known
        if current is not None:
            self.lost += was_right and not right
            self.gained += right and not was_right
        if not right:
            self._keep([Mistake(source, label, predicted, confidence)])

    def merge(self, other: "Tally") -> None:
        """Adds what was counted elsewhere."""
        self.images += other.images
        self.right += other.right
        self.lost += other.lost
        self.gained += other.gained
        self.unknown += other.unknown
        self.confusion.update(other.confusion)
        self._keep(other.mistakes)

    def _keep(self, more: Iterable[Mistake]) -> None:
        most = heapq.nlargest(WORST, [*self.mistakes, *more], key=lambda of: (of.confidence, of.source))
        self.mistakes[:] = most

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        confusion = [[*pair, images] for pair, images in sorted(self.confusion.items())]
        return json.dumps(dataclasses.asdict(dataclasses.replace(self, confusion=None)) | {"confusion": confusion})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tally":
        """Returns the tally that `to_json` wrote."""
        read = json.loads(text)
        confusion = collections.Counter({(label, predicted): n for label, predicted, n in read["confusion"]})
        return cls(**read | {"confusion": confusion, "mistakes": [Mistake(**of) for of in read["mistakes"]]})


class TallyMetric(metric_types.Metric):
    """Accuracy of each model as `accuracy`, and the Tally of the candidate as `tally`, for each slice.

    Needs the features `label` and `source`, and of each model the outputs of the signature `serving_default`.
    """

    def __init__(self, name: str = ACCURACY):
        super().__init__(_computations, name=name)

    @property
    def compute_confidence_interval(self) -> bool:
        """False: TFMA would resample for one. Intervals are computed from the counts."""
        return False


def _computations(
    name: str, eval_config: config_pb2.EvalConfig, model_names: list[str]
) -> list[metric_types.MetricComputation]:
    currents = [spec.name for spec in eval_config.model_specs if spec.is_baseline]
    (candidate,) = (model for model in model_names if model not in currents)
    keys = [
        metric_types.MetricKey(name=TALLY, model_name=candidate),
        *(metric_types.MetricKey(name=name, model_name=model) for model in [candidate, *currents]),
    ]
    predictions = _Predictions(candidate, *currents)
    return [metric_types.MetricComputation(keys=keys, preprocessors=[predictions], combiner=_Counting(*keys))]


class _Predictions(metric_types.Preprocessor):
    """Takes out of an example what `Tally.add` takes."""

    def __init__(self, candidate: str, current: str = ""):
        super().__init__()
        self._candidate, self._current = candidate, current

    def process(self, extracts: dict[str, Any]) -> Iterator[tuple]:
        features, predictions = extracts["features"], extracts["predictions"]
        candidate = predictions[self._candidate] if self._current else predictions
        current = _text(predictions[self._current]["label"]) if self._current else None
        label = np.ravel(features["label"])[0]
        yield (
            _text(features["source"]),
            label.decode(),
            _text(candidate["label"]),
            float(np.ravel(candidate["confidence"])[0]),
            label in np.ravel(candidate["all_classes"]),
            current,
        )


def _text(value: Any) -> str:
    return np.ravel(value)[0].decode()


class _Counting(beam.CombineFn):
    """Makes a tally of predictions."""

    def __init__(
        self,
        tally: metric_types.MetricKey,
        accuracy: metric_types.MetricKey,
        current_accuracy: metric_types.MetricKey | None = None,
    ):
        self._tally, self._accuracy, self._current_accuracy = tally, accuracy, current_accuracy

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, accumulator: Tally, element: tuple) -> Tally:
        accumulator.add(*element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        merged = Tally()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Tally) -> dict[metric_types.MetricKey, Any]:
        pairs, images = accumulator.pairs, accumulator.images or 1
        found = {self._tally: accumulator.to_json().encode(), self._accuracy: pairs.right / images}
        if self._current_accuracy:
            found[self._current_accuracy] = pairs.current_right / images
        return found
