"""A small device model that was trained on handwritten digits, as an export and as images."""

import dataclasses
import itertools
from typing import NamedTuple

import keras
import numpy as np
import pytest

from modules.classification import device, model
from modules.classification.settings import DEVICE
from pipeline.data import digits
from pipeline.device.input import InputSpec, pixels

SETTINGS = dataclasses.replace(DEVICE, epochs=10)
SPEC = InputSpec(DEVICE.image_size, DEVICE.image_size, DEVICE.channels)


class Trained(NamedTuple):
    """A SavedModel, and images that it was not trained on."""

    folder: str
    network: keras.Model
    images: np.ndarray  # float32 [n, H, W, C]
    labels: np.ndarray  # int [n]


@pytest.fixture(scope="session")
def trained_device_model(tmp_path_factory) -> Trained:
    labelled = list(itertools.islice(digits.images(digits.FIRST), 600))
    labels = sorted({name.partition("/")[0] for name, _ in labelled})
    images = np.stack([pixels(image, SPEC) for _, image in labelled])
    numbers = np.array([labels.index(name.partition("/")[0]) for name, _ in labelled])
    keras.utils.set_random_seed(0)
    network = model.build_model(SETTINGS, classes=len(labels))
    network.fit(images[:500], numbers[:500], batch_size=SETTINGS.batch_size, epochs=SETTINGS.epochs, verbose=0)
    folder = str(tmp_path_factory.mktemp("device") / "saved_model")
    device.export(network, labels, SETTINGS, folder)
    return Trained(folder, network, images[500:], numbers[500:])
