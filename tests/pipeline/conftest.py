"""Pipelines compiled for Vertex AI, each once for all tests, and a release with a device model."""

import functools
import pathlib

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


def plain(brightness: int) -> bytes:
    """A PNG of one grey, from 0 to 255."""
    return encoded(Image.new("RGB", (4, 4), (brightness,) * 3), "PNG")


@pytest.fixture
def publish_pair(bright_or_dark, tmp_path):
    """Function that releases `bright_or_dark`, or another file with its description, beside an empty model."""

    def publish(releases: Releases, file: pathlib.Path = bright_or_dark / "tflite") -> Release:
        described = description.read(str(bright_or_dark))
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
