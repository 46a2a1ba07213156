"""A mistake that only images show."""

import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    """Fails on the first image that it gets."""
    with tf.control_dependencies([tf.debugging.Assert(tf.size(inputs["image"]) < 0, ["broken on purpose"])]):
        return {"label": tft.compute_and_apply_vocabulary(tf.identity(inputs["label"]))}
