"""A device model in this process: each image is prepared as an app prepares it, and LiteRT runs the file."""

import os
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.batch.predictor import Classification
from pipeline.device import description
from pipeline.device.input import pixels
from pipeline.device.litert import LiteRTModel
from pipeline.device.released import TFLITE


class DeviceClassifier:
    """The model in a folder with `tflite` and `device.json`."""

    def __init__(self, folder: str):
        self.description = description.read(folder)
        self.model = LiteRTModel(os.path.join(folder, TFLITE))

    def pixels(self, image: bytes) -> np.ndarray:
        """Converts PNG or JPEG bytes to the model's input, float32 [H, W, C]. Raises OSError for what is neither."""
        return pixels(image, self.description.input)

    def classify(self, images: Iterable[bytes]) -> Iterator[Classification | None]:
        """Yields the classification of each PNG or JPEG, in order; None for one that cannot be decoded."""
        for image in images:
            try:
                prepared = self.pixels(image)
            except OSError:
                yield None
                continue
            yield classification(self.model.predict([prepared])[0], self.description.labels)


def classification(probabilities: np.ndarray, labels: tuple[str, ...]) -> Classification:
    """Returns the most probable of the labels; `probabilities` are float32 [labels]."""
    best = int(probabilities.argmax())
    return Classification(labels[best], float(probabilities[best]), probabilities)
