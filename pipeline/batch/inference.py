"""Batch inference with a released model: many encoded images in, a label and its probability each."""

import collections
import concurrent.futures
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports missing GPUs as errors; set it to 0 to hear all
# TensorFlow imports a Google package that warns of every Python that it will leave behind one day
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")
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
    """Yields a prediction for each PNG or JPEG of `images`, in their order; a few batches are in memory at a time."""
    preprocess, network = model.signatures["preprocess"], model.signatures["predict"]

    def predicted(batch: list[bytes]) -> list[Prediction]:
        found = network(pixels=preprocess(image=tf.constant(batch))["pixels"])
        columns = (found[name].numpy() for name in ("label", "confidence", "probabilities"))
        return [Prediction(label.decode(), float(share), shares) for label, share, shares in zip(*columns, strict=True)]

    # Images are read here while threads decode those before and run the network on them: TensorFlow lets Python go on.
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting = collections.deque()
        for batch in _batches(images, batch_size):
            waiting.append(pool.submit(predicted, batch))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _batches(images: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """Yields at most `most` images at a time, of photographs fewer."""
    batch, size = [], 0
    for image in images:
        batch.append(image)
        size += len(image)
        if len(batch) == most or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


MOST_BYTES = 16 * 2**20  # of encoded images in a batch
