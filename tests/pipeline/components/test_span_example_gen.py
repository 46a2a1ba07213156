"""Shards come into a pipeline from wherever the workspace lies."""

import os

from pipeline.components.span_example_gen import _bring
from pipeline.data import spans
from pipeline.storage.factory import open_storage
from tests.conftest import BucketWorkspace, photographs


def test_a_shard_of_a_folder_gets_a_second_name(workspace, tmp_path):
    workspace.collect(photographs(range(20)))
    storage = open_storage(workspace.address)
    spans.prepare(storage)

    _bring(storage, "spans/span-0001/train/00000.tfrecord", str(tmp_path / "examples" / "1-00000.tfrecord"))

    shard = workspace.root / "spans/span-0001/train/00000.tfrecord"
    assert os.path.samefile(tmp_path / "examples" / "1-00000.tfrecord", shard)


def test_a_shard_of_a_bucket_is_fetched(cloud_environment, gs_workspace, tmp_path):
    workspace = BucketWorkspace(cloud_environment, gs_workspace)
    workspace.collect(photographs(range(20)))
    storage = open_storage(gs_workspace)
    spans.prepare(storage)

    for shard in spans.published(storage)[0].shard_names("train"):
        _bring(storage, shard, str(tmp_path / "examples" / "1-00000.tfrecord"))

    shard = workspace.read("spans/span-0001/train/00000.tfrecord")
    assert (tmp_path / "examples" / "1-00000.tfrecord").read_bytes() == shard
