"""Reads the examples of any set of spans into a pipeline."""

import collections
import contextlib
import json
import os

import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.types import artifact_utils

from pipeline.components import tfx_api as tfx
from pipeline.components.local_copies import is_remote
from pipeline.data import spans as published_spans
from pipeline.data.span_writer import SPLITS
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage


@tfx.component
def SpanExampleGen(
    workspace: tfx.Parameter[str],
    spans: tfx.Parameter[str],
    fingerprint: tfx.Parameter[str],
    examples: tfx.OutputArtifact[tfx.artifacts.Examples],
):
    """Makes one Examples artifact of the shards of `spans`, a JSON list; each file's name begins with its span.

    `fingerprint` is the sha256 of the contents of these spans: nothing reads it, but TFX's cache depends on it.
    """
    del fingerprint
    storage = open_storage(workspace)
    published = published_spans.published(storage)
    chosen = json.loads(spans)
    for span in (span for span in published if span.number in chosen):
        for split in SPLITS:
            folder = os.path.join(examples.uri, f"Split-{split}")
            for shard in span.shard_names(split):
                _copy(storage, shard, os.path.join(folder, f"{span.number}-{os.path.basename(shard)}"))
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(examples, tfx.FORMAT_TF_EXAMPLE)


def spans_of(examples_uri: str, splits: list[str]) -> dict[int, list[str]]:
    """Returns {span: paths of its files} of an Examples artifact that SpanExampleGen made."""
    found = collections.defaultdict(list)
    for split in splits:
        folder = os.path.join(examples_uri, f"Split-{split}")
        for name in sorted(tf.io.gfile.listdir(folder)):
            found[int(name.partition("-")[0])].append(os.path.join(folder, name))
    return dict(sorted(found.items()))


def _copy(storage: Storage, shard: str, destination: str) -> None:
    tf.io.gfile.makedirs(os.path.dirname(destination))
    source = storage.address(shard)
    if is_remote(destination):
        tf.io.gfile.copy(source, destination)
        return
    if not is_remote(source):
        with contextlib.suppress(OSError):  # another file system
            os.link(source, destination)  # a published shard never changes, so a hard link can replace a copy
            return
    # Not by TensorFlow, which does not support the credentials of a workflow.
    with open(destination, "wb") as file:
        storage.copy_to(shard, file)
