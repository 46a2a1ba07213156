"""The types of the callback that runs a model on labelled images, on this machine or on Vertex AI."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from pipeline.config import Config
from pipeline.quality.scores import LabelledImage, Prediction
from pipeline.releases.record import Release

if TYPE_CHECKING:
    import numpy as np

# One for each image, in their order: a Prediction, or the image itself where the model cannot decode it.
Predictor = Callable[[Iterable[LabelledImage]], Iterator[Prediction | LabelledImage]]
OpenPredictor = Callable[[Config, Release], AbstractContextManager[Predictor]]


class Classification(NamedTuple):
    """A model's answer for one image."""

    label: str
    confidence: float  # probability of `label`
    probabilities: "np.ndarray | None" = None  # float32 [classes], in the order of `inference.labels`; None if not read
