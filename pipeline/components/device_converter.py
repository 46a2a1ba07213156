"""Converts the trained device model to what devices run."""

import dataclasses
import heapq
import json
import os
import tempfile

import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from pipeline.components import local_copies
from pipeline.components import tfx_api as tfx
from pipeline.components.span_example_gen import examples_of
from pipeline.data import tfrecord
from pipeline.device import conversion, description
from pipeline.device.description import Description
from pipeline.device.input import InputSpec, pixels

MODEL = "tflite"  # in the artifact's Format-Serving: the name by which TFMA knows such a model
LABELS = "labels.txt"  # beside it, one a line
COMPARED = "conversion.json"  # beside Format-Serving: each variant beside the SavedModel
ALL_VARIANTS = json.dumps(list(conversion.VARIANTS))
_CALIBRATION = 128  # images of the train split that int8 is calibrated with
_COMPARISON = 256  # images of the eval split


@tfx.component
def DeviceConverter(
    model: tfx.InputArtifact[tfx.artifacts.Model],
    examples: tfx.InputArtifact[tfx.artifacts.Examples],
    device_model: tfx.OutputArtifact[tfx.artifacts.Model],
    quantization: tfx.Parameter[str] = "",
    variants: tfx.Parameter[str] = ALL_VARIANTS,
):
    """Makes a .tflite file with `quantization` of DeviceTrainer's `model`, or with the one that device.json names.

    Each of `variants`, a JSON list, is compared with the SavedModel on the same images of the eval split, and
    written to conversion.json. Raises ConversionFailed when the one that is to ship cannot be made, or lost its
    weights; another one that cannot be made has an `error` there.
    """
    with local_copies.to_read(path_utils.serving_model_path(model.uri)) as saved_model:
        described = description.read(saved_model)
        described = dataclasses.replace(described, quantization=quantization or described.quantization)
        chosen = dict.fromkeys([described.quantization, *json.loads(variants)])
        with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
            compared = _convert(saved_model, folder, list(chosen), described, examples.uri)
            with open(os.path.join(folder, f"{described.quantization}.tflite"), "rb") as file:
                converted = file.read()
    serving = path_utils.serving_model_path(device_model.uri)
    tf.io.gfile.makedirs(serving)
    labels = "".join(f"{label}\n" for label in described.labels)
    for path, content in {
        os.path.join(serving, MODEL): converted,
        os.path.join(serving, LABELS): labels.encode(),
        os.path.join(serving, description.FILE): described.to_json().encode(),
        os.path.join(device_model.uri, COMPARED): json.dumps(compared, indent=1).encode(),
    }.items():
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)


def _convert(saved_model: str, folder: str, variants: list[str], described: Description, examples: str) -> dict:
    """Makes the variants, of which the first has to be good, in a folder; returns what conversion.json holds."""
    representative, _ = _arrays(_sample(examples, "train", _CALIBRATION), described)
    images, labels = _arrays(_sample(examples, "eval", _COMPARISON), described)
    expected = conversion.probabilities(saved_model, images)
    found: dict[str, dict] = {}
    for variant in variants:
        try:
            path = conversion.convert(saved_model, folder, variant, representative)
            compared = conversion.compare(path, expected, images, labels)
            conversion.check(variant, compared, described.parameters)
            found[variant] = compared.to_json()
        except conversion.ConversionFailed as error:
            if variant == described.quantization:
                raise
            found[variant] = {"error": str(error)}
    return {
        "quantization": described.quantization,
        "images": len(images),
        "accuracy": float((expected.argmax(axis=1) == labels).mean()),
        "variants": found,
    }


def _sample(examples: str, split: str, count: int) -> list[tfrecord.Example]:
    """Returns up to `count` examples of a split, the same ones for the same examples in any order and sharding."""
    # a sha256 is as good as random
    return heapq.nsmallest(count, examples_of(examples, split), key=lambda example: example.source)


def _arrays(sample: list[tfrecord.Example], described: Description) -> tuple[np.ndarray, np.ndarray]:
    """Returns images as the device model takes them, and the numbers of their labels, -1 for an unknown one.

    An image that cannot be decoded is left out, as training leaves it out.
    """
    numbers = {label: number for number, label in enumerate(described.labels)}
    spec: InputSpec = described.input
    images, labels = [], []
    for example in sample:
        try:
            images.append(pixels(example.image, spec))
        except OSError:
            continue
        labels.append(numbers.get(example.label, -1))
    return np.stack(images), np.array(labels)
