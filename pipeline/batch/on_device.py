"""A device model in this process: each image is prepared as an app prepares it, and LiteRT runs the file."""

import os
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.batch.predictor import Classification
from pipeline.device import description, file_check
from pipeline.device.description import Description
from pipeline.device.input import InputSpec, pixels
from pipeline.device.litert import LiteRTModel
from pipeline.releases.base import Releases
from pipeline.releases.record import Release

TFLITE = "tflite"  # the name that TFX and TFMA give the file in a model's folder


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


def fetch(releases: Releases, release: Release, folder: str) -> None:
    """Writes the device model of a release, which has one, to a new folder. Raises BrokenRelease or UnsafeModel."""
    device = release.device
    os.makedirs(folder)
    file_check.fetch(releases, release, os.path.join(folder, TFLITE))
    # its parameters count while it is converted only
    described = Description(device.labels, InputSpec.from_json(device.input), device.quantization, parameters=0)
    with open(os.path.join(folder, description.FILE), "w", encoding="utf-8") as file:
        file.write(described.to_json())
