"""Batch inference with a released model: many encoded images in, a label and its probability each."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports missing GPUs as errors; set it to 0 to hear all
import tensorflow as tf  # noqa: E402


class Prediction(NamedTuple):
    """What the model makes of one image."""

    label: str
    confidence: float  # probability of `label`
    probabilities: np.ndarray  # float32 [classes], in the order of `labels(model)`


def load(folder: str):
    """Loads the SavedModel in `folder`; see `export` in modules/classification/model.py for its signatures."""
    return tf.saved_model.load(folder)


def labels(model) -> list[str]:
    """Returns the labels that the model knows, in the order of its probabilities."""
    side, channels = model.signatures["predict"].structured_input_signature[1]["pixels"].shape[2:]
    found = model.signatures["predict"](pixels=tf.zeros([1, side, side, channels]))
    return [label.decode() for label in found["all_classes"][0].numpy()]


def predict(model, images: Iterable[bytes], batch_size: int = 256) -> Iterator[Prediction]:
    """Yields a prediction for each PNG or JPEG of `images`, in their order; a few batches are in memory at a time.

    Decoding takes longer than a small network, so it goes on in other threads while the network computes.
    """
    preprocess, network = model.signatures["preprocess"], model.signatures["predict"]
    images = iter(images)
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as decoders:
        waiting = collections.deque()
        while True:
            while len(waiting) <= threads and (batch := list(itertools.islice(images, batch_size))):
                waiting.append(decoders.submit(preprocess, image=tf.constant(batch)))
            if not waiting:
                return
            found = network(pixels=waiting.popleft().result()["pixels"])
            names, confidences = found["label"].numpy(), found["confidence"].numpy()
            for row in zip(names, confidences, found["probabilities"].numpy()):
                yield Prediction(row[0].decode(), float(row[1]), row[2])
