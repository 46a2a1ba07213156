"""Scores of predictions: accuracy with its interval, by label, and the confusion of labels. Plain Python."""

import collections
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

# The 97.5 % quantile of the normal distribution: leaves 5 % outside, on both sides together.
Z_95 = 1.959963984540054


def wilson(correct: int, images: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's score interval): sensible for few images and near 0 and 1."""
    share = correct / images
    z2 = Z_95**2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = Z_95 / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    # Where the bound is 0 or 1 by algebra, floating point misses it by 1e-17.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == images else centre + half)


@dataclass(frozen=True)
class Score:
    """`correct` of `images`. Without images there is neither accuracy nor interval: both are None."""

    correct: int
    images: int

    @property
    def accuracy(self) -> float | None:
        return self.correct / self.images if self.images else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.correct, self.images) if self.images else None


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model's predictions."""

    confusion: Mapping[tuple[str, str], int]  # {(true label, predicted label): images}

    @cached_property
    def overall(self) -> Score:
        right = sum(count for (truth, predicted), count in self.confusion.items() if truth == predicted)
        return Score(right, sum(self.confusion.values()))

    @cached_property
    def per_label(self) -> dict[str, Score]:
        """One score for each true label, sorted by label."""
        images = collections.Counter()
        for (truth, _), count in self.confusion.items():
            images[truth] += count
        return {label: Score(self.confusion.get((label, label), 0), images[label]) for label in sorted(images)}

    @cached_property
    def labels(self) -> list[str]:
        """Every label that occurs, true or predicted, sorted."""
        return sorted({label for pair in self.confusion for label in pair})

    @property
    def mistakes(self) -> list[tuple[str, str, int]]:
        """(true label, predicted label, images) of the wrong predictions, the most frequent first."""
        wrong = [(truth, predicted, n) for (truth, predicted), n in self.confusion.items() if truth != predicted and n]
        return sorted(wrong, key=lambda mistake: (-mistake[2], mistake[:2]))

    @property
    def images(self) -> int:
        return self.overall.images

    @property
    def correct(self) -> int:
        return self.overall.correct

    @property
    def accuracy(self) -> float | None:
        return self.overall.accuracy

    @property
    def interval(self) -> tuple[float, float] | None:
        return self.overall.interval


@dataclass(frozen=True)
class LabelledImage:
    """An encoded image (JPEG or PNG) with its name and its true label."""

    name: str
    label: str
    image: bytes


@dataclass(frozen=True)
class Prediction(LabelledImage):
    """A labelled image and the label that a model predicts for it."""

    predicted: str
    confidence: float  # probability of `predicted`

    @property
    def correct(self) -> bool:
        return self.predicted == self.label


def score(predictions: Iterable[Prediction | LabelledImage], worst: int = 24) -> tuple[Evaluation, list[Prediction]]:
    """Consumes a stream of predictions; returns their evaluation and the `worst` mistakes, the most confident first.

    Images without a prediction, because the model cannot decode them, do not count.
    """
    confusion = collections.Counter()

    def mistakes() -> Iterator[Prediction]:
        for prediction in predictions:
            if not isinstance(prediction, Prediction):
                continue
            confusion[prediction.label, prediction.predicted] += 1
            if not prediction.correct:
                yield prediction

    most_confident = heapq.nlargest(worst, mistakes(), key=lambda prediction: prediction.confidence)
    return Evaluation(confusion), most_confident
