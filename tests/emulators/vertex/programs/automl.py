"""Program that trains a small model in AutoML's place: the one part of the local AutoML that is not as Google's.

    python automl.py FOLDER MODEL_TYPE

Reads FOLDER/data.npz: `images` float32 [n, SIDE, SIDE, 3] from 0 to 1, `labels` int64 [n], `classes` int64.
Writes FOLDER/weights.npz, the layers of a dense network as w0, b0, w1, b1 ..., and FOLDER/model.tflite for an edge
model: uint8 image [1, 224, 224, 3] to uint8 confidences [1, classes] with scale 1/256.
"""

import pathlib
import sys

import numpy as np

SIDE = 16  # pixels; the input is averaged to it
INPUT = 224  # pixels of a side of an edge model's input
HIDDEN = {"CLOUD": 128, "MOBILE_TF_HIGH_ACCURACY_1": 64, "MOBILE_TF_VERSATILE_1": 32, "MOBILE_TF_LOW_LATENCY_1": 0}
STEPS = 600  # of training, at least
BATCH = 32
REPRESENTATIVE = 20  # images that calibrate the quantization


def main(folder: pathlib.Path, model_type: str) -> None:
    import keras

    keras.utils.set_random_seed(0)
    data = np.load(folder / "data.npz")
    hidden = HIDDEN[model_type]
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Flatten(),
            *([keras.layers.Dense(hidden, "relu")] if hidden else []),
            keras.layers.Dense(int(data["classes"]), "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", jit_compile=False)
    order = np.random.default_rng(0).permutation(max(len(data["labels"]), STEPS * BATCH)) % len(data["labels"])
    model.fit(data["images"][order], data["labels"][order], BATCH, verbose=0)  # each epoch more costs milliseconds
    weights = model.get_weights()
    names = [f"{kind}{layer}" for layer in range(len(weights) // 2) for kind in "wb"]
    np.savez(folder / "weights.npz", **dict(zip(names, weights, strict=True)))
    if model_type != "CLOUD":
        (folder / "model.tflite").write_bytes(_converted(model, data["images"], folder / "saved_model"))


def _converted(model, images: np.ndarray, folder: pathlib.Path) -> bytes:
    """The model with a uint8 image as its input, quantized to integers, as AutoML's edge models are."""
    import keras
    import tensorflow as tf

    image = keras.Input((INPUT, INPUT, 3), batch_size=1, name="image")
    averaged = keras.layers.AveragePooling2D(INPUT // SIDE)(keras.layers.Rescaling(1 / 255)(image))
    whole = keras.Model(image, model(averaged))
    archive = keras.export.ExportArchive()
    archive.track(whole)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"scores": whole(image)},
        [tf.TensorSpec([1, INPUT, INPUT, 3], tf.float32, "image")],
    )
    archive.write_out(str(folder), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    white = np.ones_like(images[:1])  # sets the range of the input: a pixel of 255 is 255
    converter.representative_dataset = lambda: (
        [np.kron(image, np.ones((INPUT // SIDE, INPUT // SIDE, 1), np.float32))[None] * 255]
        for image in np.concatenate([white, images[:REPRESENTATIVE]])
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
