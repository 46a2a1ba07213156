"""Batch inference with TensorFlow: takes encoded images, yields a label and its probability for each."""

import collections
import concurrent.futures
import os
import warnings
from collections.abc import Iterable, Iterator

from pipeline.batch.predictor import Classification

os.environ.setdefault(
    "TF_CPP_MIN_LOG_LEVEL", "3"
)  # TensorFlow reports missing GPUs as errors; set it to 0 to see everything
# TensorFlow imports a Google package that warns of each Python version whose support ends one day
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")
import tensorflow as tf  # noqa: E402


def load(folder: str):
    """Loads the SavedModel in `folder`; see `export` in modules/classification/model.py for its signatures."""
    return tf.saved_model.load(folder)


def labels(model) -> list[str]:
    """Returns the labels that the model was trained on, in the order of its probabilities."""
    side, channels = model.signatures["predict"].structured_input_signature[1]["pixels"].shape[2:]
    found = model.signatures["predict"](pixels=tf.zeros([1, side, side, channels]))
    return [label.decode() for label in found["all_classes"][0].numpy()]


def classify(model, images: Iterable[bytes], batch_size: int = 256) -> Iterator[Classification | None]:
    """Yields the classification of each PNG or JPEG in `images`, in order; None for one that it cannot decode.

    A few batches are in memory at a time.
    """
    network = model.signatures["predict"]

    def run(batch: list[bytes]) -> list[Classification | None]:
        pixels, decoded = _preprocessed(model, batch)
        found = network(pixels=pixels)
        columns = (found[name].numpy() for name in ("label", "confidence", "probabilities"))
        return [
            Classification(label.decode(), float(share), all_) if good else None
            for good, label, share, all_ in zip(decoded, *columns, strict=True)
        ]

    # While this thread reads images, others decode earlier batches and run the network: TensorFlow releases the GIL.
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting, sizes = collections.deque(), collections.deque()
        for batch in _batches(images, batch_size):
            waiting.append(pool.submit(run, batch))
            sizes.append(sum(map(len, batch)))
            # photographs fill the memory before they occupy all threads
            while len(waiting) > threads or (sum(sizes) > MOST_BYTES and len(waiting) > 1):
                sizes.popleft()
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _preprocessed(model, images: list[bytes]) -> tuple[tf.Tensor, list[bool]]:
    """Returns float32 images [batch, H, W, C], and which of them could be decoded."""
    preprocess = model.signatures["preprocess"]
    try:
        found = preprocess(image=tf.constant(images))
    except tf.errors.InvalidArgumentError:  # of a model that was released before it had the output `decoded`
        if len(images) == 1:
            return tf.zeros([1, *model.signatures["predict"].structured_input_signature[1]["pixels"].shape[1:]]), [
                False
            ]
        halves = [_preprocessed(model, half) for half in (images[: len(images) // 2], images[len(images) // 2 :])]
        pixels, decoded = zip(*halves, strict=True)
        return tf.concat(pixels, axis=0), [*decoded[0], *decoded[1]]
    return found["pixels"], found["decoded"].numpy().tolist() if "decoded" in found else [True] * len(images)


def _batches(images: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    """Yields batches of at most `most` images and about MOST_BYTES."""
    batch, size = [], 0
    for image in images:
        batch.append(image)
        size += len(image)
        if len(batch) == most or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


MOST_BYTES = 16 * 2**20  # of encoded images in a batch, and of those of several batches in memory at a time
