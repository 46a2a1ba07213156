"""AutoML's exported device model becomes one that apps run, and computes the same."""

import io
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from pipeline.device import automl, description, file_check
from pipeline.device.description import UnusableDeviceModel
from pipeline.device.litert import LiteRTModel

LABELS = b"dark\nbright\n"


def computed(exported: bytes, pixels: np.ndarray) -> np.ndarray:
    """The probabilities that the exported file itself gives for uint8 pixels [H, W, 3]."""
    model = Interpreter(model_content=exported)
    model.allocate_tensors()
    (given,), (found,) = model.get_input_details(), model.get_output_details()
    model.set_tensor(given["index"], pixels[np.newaxis])
    model.invoke()
    scale, zero = found["quantization"]
    return (model.get_tensor(found["index"])[0].astype(np.float32) - zero) * scale


def test_it_takes_floats_and_computes_the_same_bits(automl_export, tmp_path):
    automl.adapt(automl_export, LABELS, str(tmp_path))

    file_check.check(str(tmp_path / "tflite"), "The model")
    model, described = LiteRTModel(str(tmp_path / "tflite")), description.read(str(tmp_path))
    assert described.labels == ("dark", "bright") and described.input.to_json()["shape"] == [1, 8, 8, 3]
    for seed in range(20):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        np.testing.assert_array_equal(model.predict([pixels / 255])[0], computed(automl_export, pixels))
    assert model.predict([np.ones((8, 8, 3))])[0].argmax() == 1


def test_labels_inside_of_the_file(automl_export, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("dict.txt", LABELS)

    automl.adapt(automl_export + packed.getvalue(), None, str(tmp_path))

    assert description.read(str(tmp_path)).labels == ("dark", "bright")


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (None, "no label file"),
        (b"dark\n", "gives .1, 2., but its label file names 1 labels"),
        (b"dark\ndark\n", "one twice"),
    ],
)
def test_labels_that_are_not_those_of_the_model(automl_export, tmp_path, labels, problem):
    with pytest.raises(UnusableDeviceModel, match=problem):
        automl.adapt(automl_export, labels, str(tmp_path))


def test_a_model_of_other_numbers(bright_or_dark, tmp_path):
    with pytest.raises(UnusableDeviceModel, match="not of 8-bit numbers"):
        automl.adapt((bright_or_dark / "tflite").read_bytes(), LABELS, str(tmp_path))
    with pytest.raises(UnusableDeviceModel, match="no TensorFlow Lite model"):
        automl.adapt(b"not one at all", LABELS, str(tmp_path))
