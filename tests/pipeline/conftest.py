"""Pipelines compiled for Vertex AI, each once for all tests, and a device model that needs no training."""

import functools
import pathlib
import shutil

import pytest
from PIL import Image

from pipeline.config import Config
from pipeline.device import description
from pipeline.orchestrators.compiled import Compiled, compile_pipeline
from pipeline.outcomes import Metrics
from pipeline.plan import Shape
from pipeline.releases.base import Releases
from pipeline.releases.record import DeviceModel, Release
from tests.conftest import EMPTY_MODEL, IMAGE, encoded, put


@functools.cache
def compiled(name: str, shape: Shape | None = None, **settings: object) -> Compiled:
    """A pipeline as `compile` makes it."""
    return compile_pipeline(Config(image=IMAGE, **settings), name, shape or Shape())


@pytest.fixture
def spec() -> dict:
    """The training pipeline's spec with everything in it, to be damaged."""
    shape = Shape(baseline=True, curated=True, tune=True, device=True, device_baseline=True)
    return compiled("training", shape, endpoint="photographs", parallel_trials=3).spec


@pytest.fixture(scope="session")
def bright_or_dark(tmp_path_factory) -> pathlib.Path:
    """Folder of a device model, `tflite` and `device.json`, that tells bright images from dark ones."""
    import keras
    import numpy as np

    from modules.classification import device
    from modules.classification.settings import DeviceSettings
    from pipeline.device import conversion

    images = keras.Input((8, 8, 3))
    probabilities = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(images))
    network = keras.Model(images, probabilities)
    network.layers[-1].set_weights([np.array([[-3, 3]] * 3, np.float32), np.array([4.5, -4.5], np.float32)])
    folder = tmp_path_factory.mktemp("bright_or_dark")
    device.export(network, ["dark", "bright"], DeviceSettings(image_size=8, quantization="fp32"), str(folder / "saved"))
    path = conversion.convert(str(folder / "saved"), str(folder), "fp32", np.zeros((1, 8, 8, 3), np.float32))
    (folder / "model").mkdir()
    shutil.move(path, folder / "model" / "tflite")
    shutil.copy(folder / "saved" / "device.json", folder / "model")
    return folder / "model"


def plain(brightness: int) -> bytes:
    """A PNG of one grey, from 0 to 255."""
    return encoded(Image.new("RGB", (4, 4), (brightness,) * 3), "PNG")


@pytest.fixture
def publish_pair(bright_or_dark, tmp_path):
    """Function that releases `bright_or_dark` beside an empty model."""

    def publish(releases: Releases) -> Release:
        described = description.read(str(bright_or_dark))
        file = bright_or_dark / "tflite"
        put(tmp_path / "model", {"saved_model.pb": EMPTY_MODEL})
        device = DeviceModel(
            file="model.tflite",
            bytes=file.stat().st_size,
            labels=described.labels,
            input=described.input.to_json(),
            quantization=described.quantization,
            metrics=Metrics(),
            agreement=None,
            escalation=None,
        )
        return releases.publish(
            str(tmp_path / "model"),
            identity="first",
            commit="",
            modules_digest="",
            spans=[1],
            labels=["bright", "dark"],
            metrics=Metrics(),
            previous=None,
            device=device,
            device_file=str(file),
        )

    return publish
