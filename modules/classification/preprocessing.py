"""From examples to what the model eats. The exported model does it too, so serving cannot differ from training."""

import tensorflow as tf
import tensorflow_transform as tft

from modules.classification.settings import SETTINGS

IMAGE = "image"
LABEL = "label"
LABELS = "labels"  # name of the vocabulary: every label of the training data


def transformed(feature: str) -> str:
    """Names a feature after preprocessing."""
    return f"{feature}_xf"


def decode(images: tf.Tensor) -> tf.Tensor:
    """Decodes PNG or JPEG bytes [batch] to float32 images [batch, image_size, image_size, channels] in [0, 1]."""
    side = SETTINGS.image_size

    def decode_one(data):
        image = tf.io.decode_image(data, channels=SETTINGS.channels, expand_animations=False)
        image.set_shape([None, None, SETTINGS.channels])
        # antialias: a photograph of 4,000 pixels shrunk to 32 would be noise without it
        return tf.image.resize(tf.cast(image, tf.float32), [side, side], antialias=True) / 255.0

    shape = tf.TensorSpec([side, side, SETTINGS.channels], tf.float32)
    return tf.map_fn(decode_one, images, fn_output_signature=shape)


@tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking for it takes seconds
def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes PNG or JPEG bytes [batch, 1] to float32 images [batch, H, W, C] in [0, 1], numbers labels [batch, 1].

    Labels become int64, numbered by frequency, then by name; a label that was not in the training data becomes -1.
    """
    return {
        transformed(IMAGE): decode(tf.reshape(inputs[IMAGE], [-1])),
        transformed(LABEL): tft.compute_and_apply_vocabulary(inputs[LABEL], vocab_filename=LABELS),
    }
