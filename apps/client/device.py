"""The device model of a client: prepares a picture as every app does, and runs the file by LiteRT."""

import time
from collections.abc import Mapping
from typing import Any

from apps.client.answers import Answer, BadPicture
from pipeline.data import images
from pipeline.device.input import InputSpec, pixels
from pipeline.device.litert import LiteRTModel


class OnDevice:
    """A .tflite file with what its manifest, or `device` in model.json, says of it.

    Raises ValueError for a file that LiteRT does not load, or whose input an app that follows input.py cannot make.
    """

    def __init__(
        self, path: str, *, model: str, labels: tuple[str, ...], input: Mapping[str, Any], threshold: float | None
    ):
        self.model, self.labels, self.threshold = model, labels, threshold
        self._spec = InputSpec.from_json(input)
        self._network = LiteRTModel(path)
        if self._network.outputs != len(labels):
            raise ValueError(f"it has {self._network.outputs} probabilities, for {len(labels)} labels")

    def answer(self, picture: bytes) -> Answer:
        """Returns the answer for a PNG or JPEG. Raises BadPicture."""
        began = time.perf_counter()
        try:
            images.check(picture)  # refuses what has too many pixels before anything is decoded
            prepared = pixels(picture, self._spec)
        except (images.BadImage, OSError) as bad:
            raise BadPicture(str(bad)) from None
        found = self._network.predict([prepared])[0].tolist()
        best = max(range(len(found)), key=found.__getitem__)
        probabilities = dict(zip(self.labels, found, strict=True))
        return Answer(self.labels[best], found[best], probabilities, self.model, time.perf_counter() - began)
