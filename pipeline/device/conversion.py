"""Converts the device model to TensorFlow Lite, and compares what it becomes with what was trained."""

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing  # noqa: F401  ai_edge_quantizer uses it without importing it
import tensorflow as tf

from pipeline.device.description import UnusableDeviceModel
from pipeline.device.litert import LiteRTModel

# How weights and activations are stored, with the bytes of a weight. Activations are float32, but for int8.
VARIANTS = {"fp32": 4, "fp16": 2, "dynamic": 1, "int8": 1}
_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A converted file compared with the SavedModel on the same images."""

    bytes: int
    largest_difference: float  # of a probability
    labels_changed: int  # images whose most probable label differs
    not_numbers: int  # images with a probability that is not a number
    accuracy: float  # share of images whose most probable label is theirs

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class ConversionFailed(UnusableDeviceModel):
    """A variant cannot be made, or is not the network that was trained."""

    def __init__(self, variant: str, why: str):
        super().__init__(
            f"The device model cannot be converted to {variant}: {why}. Choose another quantization or backbone for"
            " DEVICE in the task's settings.py."
        )


def convert(saved_model: str, folder: str, variant: str, representative: np.ndarray) -> str:
    """Writes `<variant>.tflite` into a folder; returns its path.

    `saved_model` has the signature serving_default: image, float32 [1, H, W, C] -> probabilities, float32 [1, labels].
    `representative` are real images, float32 [n, H, W, C], by which int8 measures the range of activations. All
    variants but fp32 are made of fp32.tflite, which is made once in a folder. Raises ConversionFailed.
    """
    path = os.path.join(folder, f"{variant}.tflite")
    if variant not in VARIANTS:
        raise ConversionFailed(variant, f"it is not one of {', '.join(VARIANTS)}")
    try:
        if variant == "fp32":
            data = _float_model(saved_model)
        else:
            float_model = os.path.join(folder, "fp32.tflite")
            if not os.path.exists(float_model):
                convert(saved_model, folder, "fp32", representative)
            with open(float_model, "rb") as file:
                data = _quantized(file.read(), variant, representative)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise ConversionFailed(variant, str(error).partition("\n")[0]) from error
    with open(path, "wb") as file:
        file.write(data)
    return path


def compare(path: str, expected: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Variant:
    """Compares a converted file with the SavedModel's probabilities `expected` [n, labels] of `images` [n, H, W, C].

    `labels` are the numbers of the images' own labels [n].
    """
    found = LiteRTModel(path).predict(images)
    wrong = ~np.isfinite(found).all(axis=1)
    difference = np.abs(found[~wrong] - expected[~wrong])
    return Variant(
        bytes=os.path.getsize(path),
        largest_difference=float(difference.max(initial=0)),
        labels_changed=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        not_numbers=int(wrong.sum()),
        accuracy=float((found.argmax(axis=1) == labels).mean()),
    )


def check(variant: str, found: Variant, parameters: int) -> None:
    """Raises ConversionFailed for a file that lost its weights, or gives what is no number."""
    # TensorFlow 2.21 has written files without weights, and said nothing. No file needs all parameters: a conversion
    # makes one of the four that batch normalization has for each channel.
    if found.bytes < parameters * VARIANTS[variant] / 2:
        raise ConversionFailed(variant, f"{found.bytes:,} bytes cannot hold {parameters:,} parameters")
    if found.not_numbers:
        raise ConversionFailed(variant, f"it gives what is no number for {found.not_numbers} images")


def probabilities(saved_model: str, images: Iterable[np.ndarray]) -> np.ndarray:
    """Runs the SavedModel on float32 images [n, H, W, C]; returns probabilities, float32 [n, labels]."""
    network = tf.saved_model.load(saved_model).signatures[_SIGNATURE]
    return np.stack([network(image=tf.constant(image[np.newaxis]))["probabilities"][0].numpy() for image in images])


def _float_model(saved_model: str) -> bytes:
    # The only route that TensorFlow 2.16 and 2.21 both take without a crash, lost weights, or lost names.
    return tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[_SIGNATURE]).convert()


def _quantized(float_model: bytes, variant: str, representative: np.ndarray) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer, recipe

    work = quantizer.Quantizer(bytearray(float_model))
    calibration = None
    if variant == "fp16":
        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        work.update_quantization_recipe(
            ".*",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
        )
    elif variant == "dynamic":
        work.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    else:
        work.load_quantization_recipe(recipe.static_wi8_ai8())
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):  # these stay float32
            work.update_quantization_recipe(".*", end, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        samples = [{"image": image[np.newaxis]} for image in representative]
        calibration = work.calibrate({_SIGNATURE: samples}, num_threads=1)
    return bytes(work.quantize(calibration, enable_progress_report=False).quantized_model)
