"""Images that TensorFlow cannot decode: those for evaluation are left out of a pipeline's examples.

What a span holds passed the checks of an import, so there are none as a rule. One of them would fail the Evaluator.
Those for training are left to the Trainer, which decodes them anyway, and lists them in a file of the same kind.
"""

import json
import os
from collections.abc import Collection, Sequence

import tensorflow as tf

from pipeline.data import tfrecord
from pipeline.data.manifest import name_of
from pipeline.data.span import Span
from pipeline.errors import UndecodedImages
from pipeline.outcomes import Rejected
from pipeline.storage.bucket_sources import each_in_order

LEFT_OUT = "left-out.json"  # a list of sha256, in the folder of the examples and in that of the Trainer's run
SPLIT = "eval"
_AT_A_TIME = 4  # images that are decoded: more of them cost memory
_REMEDY = "Withdraw them: `python -m ci withdraw NAME --why broken`, then train again."


def leave_out(examples_uri: str, spans: Sequence[Span]) -> None:
    """Takes images for evaluation that cannot be decoded out of an Examples artifact, and lists them beside its splits.

    Raises UndecodedImages when they are more than one in a hundred of all images.
    """
    broken: set[str] = set()
    folder = os.path.join(examples_uri, f"Split-{SPLIT}")
    for name in sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.exists(folder) else ():
        path = os.path.join(folder, name)
        if found := _undecodable(path):
            _write_without(path, found)
            broken |= found
    images = sum(span.images for span in spans)
    if UndecodedImages.too_many(len(broken), images):
        raise UndecodedImages([one.name for one in named(broken, spans)], images, _REMEDY)
    with tf.io.gfile.GFile(os.path.join(examples_uri, LEFT_OUT), "w") as file:
        json.dump(sorted(broken), file)


def left_out_of(folder: str) -> set[str]:
    """Returns the sha256 of the images that are listed in a folder; none where there is no list."""
    path = os.path.join(folder, LEFT_OUT)
    if not tf.io.gfile.exists(path):
        return set()
    with tf.io.gfile.GFile(path) as file:
        return set(json.load(file))


def named(sources: Collection[str], spans: Sequence[Span]) -> tuple[Rejected, ...]:
    """Returns the names of images, by their sha256, as `withdraw` takes them."""
    listed = ((span, source) for span in spans if sources for source in span.listed)
    return tuple(
        Rejected(f"{name_of(span.number)}/{source.name}", "TensorFlow cannot decode it")
        for span, source in listed
        if source.sha256 in sources
    )


def _undecodable(path: str) -> set[str]:
    """Returns the sha256 of the images of a file that cannot be decoded."""
    examples = map(tfrecord.parse, tf.data.TFRecordDataset(path).as_numpy_iterator())
    sources = each_in_order(lambda example: "" if decodes(example.image) else example.source, examples, _AT_A_TIME)
    return set(filter(None, sources))


def decodes(image: bytes) -> bool:
    """Returns whether TensorFlow decodes a JPEG or PNG."""
    try:
        if image.startswith(b"\x89PNG"):
            tf.io.decode_png(image, channels=4)
        else:
            # at an eighth of its size, which is cheaper, and fails for the same files
            tf.io.decode_jpeg(image, channels=3, ratio=8)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _write_without(path: str, sources: set[str]) -> None:
    """Replaces a file, which may be another name of a published shard and so must not be changed."""
    new = f"{os.path.dirname(path)}.new"
    kept = 0
    with tf.io.gfile.GFile(new, "wb") as file:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            if tfrecord.parse(record).source not in sources:
                kept += tfrecord.append_record(file, record)
    if kept:
        tf.io.gfile.rename(new, path, overwrite=True)
    else:
        tf.io.gfile.remove(new)
        tf.io.gfile.remove(path)
