"""The device model: how it is trained and exported. TFX's Trainer calls `run_fn` for it where DEVICE_MODEL is on."""

import json
import os

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from modules.classification import model
from modules.classification.decoding import decode
from modules.classification.preprocessing import IMAGE, LABEL, LABELS, SOURCE
from modules.classification.settings import DEVICE, DeviceSettings

DESCRIPTION = "device.json"


class DevicePreprocessing:
    """Decodes images at the device model's own size, and numbers labels as Transform does.

    The app that runs the model decodes, turns and resizes a picture itself: nothing else of `preprocessing_fn` happens
    on a device, so nothing else does in training.
    """

    def __init__(self, transform_output: str, settings: DeviceSettings):
        self.labels: list[bytes] = tft.TFTransformOutput(transform_output).vocabulary_by_name(LABELS)
        numbers = tf.lookup.KeyValueTensorInitializer(self.labels, tf.range(len(self.labels), dtype=tf.int64))
        self._numbers = tf.lookup.StaticHashTable(numbers, default_value=-1)
        self._settings = settings

    @tf.autograph.experimental.do_not_convert
    def examples(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Serialized examples [batch] to images, labels, decoded and sources: as model.Preprocessing gives them."""
        texts = {name: tf.io.FixedLenFeature([], tf.string, "") for name in (IMAGE, LABEL, SOURCE)}
        features = tf.io.parse_example(records, texts)
        pixels, decoded = decode(features[IMAGE], self._settings)
        return pixels, self._numbers.lookup(features[LABEL]), decoded, features[SOURCE]


def run_fn(fn_args: FnArgs) -> None:
    """Trains on the spans with the labels that Transform numbered, and exports for conversion; called by TFX's Trainer.

    `fn_args.custom_config` is that of model.run_fn.
    """
    preprocessing = DevicePreprocessing(fn_args.transform_output, DEVICE)
    # not below the other model's folder, which deletes that when it is trained
    checkpoints = f"{fn_args.custom_config['checkpoints']}-device"
    with model.trained(fn_args, DEVICE, preprocessing, checkpoints) as network:
        labels = [label.decode() for label in preprocessing.labels]
        export(network, labels, DEVICE, fn_args.serving_model_dir)


def export(network: keras.Model, labels: list[str], settings: DeviceSettings, folder: str) -> None:
    """Writes a SavedModel for conversion, and beside it device.json, which says what it takes and gives.

    Its signature serving_default: image, float32 [1, H, W, C] in [0, 1] -> probabilities, float32 [1, labels]. Both
    names and the shape survive conversion, and runtimes on devices and in browsers need a shape that is static.
    """

    @tf.autograph.experimental.do_not_convert
    def serve(image):
        return {"probabilities": network(image, training=False)}

    shape = [1, *network.input_shape[1:]]
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", serve, [tf.TensorSpec(shape, tf.float32, name="image")])
    archive.write_out(folder, verbose=False)
    description = {
        "labels": labels,
        "input": {
            "shape": shape,
            "dtype": "float32",
            "range": [0.0, 1.0],
            "resize": "bilinear-antialias",
            "background": list(settings.background),
        },
        "quantization": settings.quantization,
        "parameters": network.count_params(),
    }
    with tf.io.gfile.GFile(os.path.join(folder, DESCRIPTION), "w") as file:
        json.dump(description, file, indent=1)


def dry_run(images: list[bytes]) -> None:
    """Classifies PNG or JPEG bytes with an untrained model; called before a training, so that it fails in seconds."""
    model.dry_run(images, DEVICE)
