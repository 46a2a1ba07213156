"""From examples to what the model eats. The exported model does it too, so serving cannot differ from training."""

import tensorflow as tf
import tensorflow_transform as tft

from modules.classification.decoding import decode
from modules.classification.settings import SETTINGS

IMAGE = "image"
LABEL = "label"
SOURCE = "source"  # sha256 of the image's bytes
DECODED = "decoded"  # whether the image's bytes are one
LABELS = "labels"  # name of the vocabulary: every label of the training data


def transformed(feature: str) -> str:
    """Names a feature after preprocessing."""
    return f"{feature}_xf"


@tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking for it takes seconds
def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes PNG or JPEG bytes [batch, 1] to float32 images [batch, H, W, C] in [0, 1], numbers labels [batch, 1].

    Where bytes are no image, DECODED (int64 [batch]) is 0 instead of 1, and the image is black. Labels become int64,
    numbered by frequency, then by name; a label that was not in the training data becomes -1.
    """
    pixels, decoded = decode(tf.reshape(inputs[IMAGE], [-1]), SETTINGS)
    return {
        transformed(IMAGE): pixels,
        DECODED: tf.cast(decoded, tf.int64),
        transformed(LABEL): tft.compute_and_apply_vocabulary(inputs[LABEL], vocab_filename=LABELS),
    }
