"""The device model of a release, as TFMA and LiteRT read it."""

import pathlib

from pipeline.batch.on_device import DeviceClassifier
from pipeline.components import tfx_api as tfx
from pipeline.components.current_model import CurrentDeviceModel
from pipeline.releases.factory import open_releases
from tests.pipeline.conftest import plain


def test_the_current_device_model_is_the_one_that_was_released(bright_or_dark, publish_pair, tmp_path):
    publish_pair(open_releases(str(tmp_path / "releases")))
    output = tfx.artifacts.Model()
    output.uri = str(tmp_path / "output")

    CurrentDeviceModel.test_call(releases=str(tmp_path / "releases"), token_secret="", tag="model-1", model=output)

    folder = pathlib.Path(output.uri) / "Format-Serving"
    assert (folder / "tflite").read_bytes() == (bright_or_dark / "tflite").read_bytes()
    (found,) = DeviceClassifier(str(folder)).classify([plain(250)])
    assert found.label == "bright"
