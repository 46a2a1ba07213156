"""A .tflite file runs as on a device; one that is none, or has other inputs and outputs, is refused."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.device import conversion
from pipeline.device.litert import LiteRTModel


@pytest.fixture(scope="module")
def model(trained_device_model, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("litert"))
    return LiteRTModel(conversion.convert(trained_device_model.folder, folder, "fp32", trained_device_model.images))


def test_images_are_predicted_one_by_one_in_their_order(model, trained_device_model):
    images = trained_device_model.images[:5]

    together = model.predict(images)

    assert together.shape == (5, 10) and together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([model.predict(image[np.newaxis]) for image in images]))
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)


def test_no_image_has_no_prediction(model):
    assert model.predict(np.empty((0, 32, 32, 3), np.float32)).shape == (0, 10)


def test_operators_are_named_and_latency_is_measured(model, trained_device_model):
    assert {"CONV_2D", "SOFTMAX"} <= set(model.operators)
    assert 0 < model.latency(trained_device_model.images[0], seconds=0.05) < 1000


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"no model")

    with pytest.raises(ValueError):
        LiteRTModel(str(tmp_path / "broken.tflite"))


def test_a_model_with_other_names_is_refused(tmp_path):
    class Doubled(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 2], tf.float32, name="numbers")])
        def double(self, numbers):
            return {"doubled": numbers * 2}

    module = Doubled()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.double})
    path = conversion.convert(str(tmp_path / "saved"), str(tmp_path), "fp32", np.empty((0, 2), np.float32))

    with pytest.raises(ValueError, match="numbers.*not image -> probabilities"):
        LiteRTModel(path)
