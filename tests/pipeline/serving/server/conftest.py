"""Running servers: of a small device model, which starts in a second, and of a small SavedModel."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.served import Served


@pytest.fixture(scope="session")
def bright_or_dark_saved(tmp_path_factory) -> pathlib.Path:
    """Folder of a SavedModel that takes encoded images and gives what a released one gives."""
    import tensorflow as tf

    class BrightOrDark(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")], autograph=False)
        def serve(self, image):
            def brightness(encoded):
                return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32)) / 255

            bright = tf.map_fn(brightness, image, fn_output_signature=tf.float32)
            probabilities, labels = tf.stack([1 - bright, bright], axis=1), tf.constant(["dark", "bright"])
            return {
                "label": tf.gather(labels, tf.argmax(probabilities, axis=1)),
                "confidence": tf.reduce_max(probabilities, axis=1),
                "probabilities": probabilities,
                "all_classes": tf.tile(labels[tf.newaxis], [tf.shape(image)[0], 1]),
            }

    folder, model = tmp_path_factory.mktemp("bright_or_dark_saved"), BrightOrDark()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    return folder


@pytest.fixture(scope="session")
def saved_model_server(bright_or_dark_saved) -> Iterator[Served]:
    """A server of a SavedModel, shared: none of its tests may end it."""
    routes = {"AIP_HEALTH_ROUTE": "/ping", "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict"}
    with Served(bright_or_dark_saved, SERVING_INSTANCES="64", SERVING_MEGAPIXELS="1", **routes) as server:
        yield server


@pytest.fixture(scope="session")
def device_model_server(bright_or_dark) -> Iterator[Served]:
    """A server of a device model, shared: none of its tests may end it."""
    with Served(bright_or_dark, SERVING_BODY_MEGABYTES="1", SERVING_SECONDS="2") as server:
        yield server
