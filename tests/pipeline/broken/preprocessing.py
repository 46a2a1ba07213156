"""A mistake that only images show, and whose message has the environment that the code sees."""

import os

import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    """Fails on the first image that it gets."""
    message = ["broken on purpose, among", " ".join(sorted(os.environ))]
    with tf.control_dependencies([tf.debugging.Assert(tf.size(inputs["image"]) < 0, message)]):
        return {"label": tft.compute_and_apply_vocabulary(tf.identity(inputs["label"]))}
