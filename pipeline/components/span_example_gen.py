"""Reads the examples of any set of spans into a pipeline."""

import collections
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.types import artifact_utils

from pipeline.components import tfx_api as tfx
from pipeline.components import undecodable
from pipeline.components.local_copies import is_remote
from pipeline.data import spans as published_spans
from pipeline.data import tfrecord
from pipeline.data.manifest import SPLITS, name_of
from pipeline.data.span import Span, corrected_up_to
from pipeline.errors import BrokenSpan
from pipeline.outcomes import SpanState, states_from_json
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage


@tfx.component
def SpanExampleGen(
    workspace: tfx.Parameter[str],
    spans: tfx.Parameter[str],
    fingerprint: tfx.Parameter[str],
    examples: tfx.OutputArtifact[tfx.artifacts.Examples],
    data: tfx.Parameter[str] = "{}",
):
    """Makes one Examples artifact of the shards of `spans`, a JSON list; each file's name begins with its span.

    `data` is what each span held when the run was planned: corrections that came later are left to the next run.
    Images for evaluation that TensorFlow cannot decode are left out and listed beside the examples: see undecodable.py.
    `fingerprint` is the sha256 of all of it: nothing reads it, but TFX's cache depends on it. Raises BrokenSpan, also
    when a span holds something else by now, and UndecodedImages.
    """
    del fingerprint
    storage = open_storage(workspace)
    chosen, planned = json.loads(spans), states_from_json(json.loads(data))
    present = [
        as_planned(span, planned.get(str(span.number)))
        for span in published_spans.published(storage)
        if span.number in chosen
    ]
    for span in present:
        copy_span(storage, span, examples.uri)
    undecodable.leave_out(examples.uri, present)
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


def examples_of(examples_uri: str, split: str) -> Iterator[tfrecord.Example]:
    """Yields the examples of a split of an Examples artifact that SpanExampleGen made."""
    for paths in spans_of(examples_uri, [split]).values():
        for path in paths:
            with tf.io.gfile.GFile(path, "rb") as file:
                yield from map(tfrecord.parse, tfrecord.records(file, path))


def as_planned(span: Span, state: SpanState | None) -> Span:
    """Returns a span as it was when a run was planned; raises BrokenSpan when it holds something else by now."""
    if state is None:
        return span
    span = corrected_up_to(span, state.corrections)
    if span.digest != state.digest:
        raise BrokenSpan(name_of(span.number), "it was changed after this run was planned, so start the run again")
    return span


def copy_span(storage: Storage, span: Span, uri: str) -> None:
    """Writes the examples of a span, as corrected, to the folders of an Examples artifact."""
    for split in SPLITS:
        folder = os.path.join(uri, f"Split-{split}")
        if span.corrections.images:
            _write(span, split, os.path.join(folder, f"{span.number}-corrected.tfrecord"))
            continue
        for shard in span.shard_names(split):
            _copy(storage, span, shard, os.path.join(folder, f"{span.number}-{os.path.basename(shard)}"))


def _write(span: Span, split: str, destination: str) -> None:
    """Writes the examples of a span that was corrected."""
    if not span.count(split):
        return
    tf.io.gfile.makedirs(os.path.dirname(destination))
    with tf.io.gfile.GFile(destination, "wb") as file:
        for example in span.examples(split):
            tfrecord.append(file, *example)


def _copy(storage: Storage, span: Span, shard: str, destination: str) -> None:
    """Copies a shard, if it is what was published."""
    tf.io.gfile.makedirs(os.path.dirname(destination))
    source = storage.address(shard)
    if is_remote(destination):
        # By way of this machine, because what is copied has to be verified.
        with tempfile.TemporaryFile(prefix="spanloop-") as file, tf.io.gfile.GFile(destination, "wb") as copied:
            span.copy_shard(shard, file)
            file.seek(0)
            shutil.copyfileobj(file, copied, 1 << 20)
        return
    if not is_remote(source):
        with contextlib.suppress(OSError):  # another file system
            os.link(source, destination)  # a published shard never changes, so a hard link can replace a copy
            with open(destination, "rb") as file:
                span.verify_shard(shard, file)
            return
    # Not by TensorFlow, which does not support the credentials of a workflow.
    with open(destination, "w+b") as file:
        span.copy_shard(shard, file)
