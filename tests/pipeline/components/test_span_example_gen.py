"""Examples come into a pipeline from wherever the workspace lies: corrected, and only if they were published so."""

import io
import os
import pathlib

import pytest

from pipeline.components.span_example_gen import as_planned, copy_span
from pipeline.data import correcting, spans, tfrecord
from pipeline.errors import BrokenSpan
from pipeline.outcomes import SpanState
from tests.conftest import examples_of, jpeg, photographs
from tests.places import in_a_folder, kind, storage, workspace

__all__ = ["kind", "storage", "workspace"]

SHARD = "spans/span-0001/train/00000.tfrecord"


@pytest.fixture
def span(storage, workspace):
    workspace.collect(photographs(range(20)))
    spans.prepare(storage)
    return spans.published(storage)[0]


def brought(folder: pathlib.Path) -> dict[str, tuple[str, str]]:
    """{sha256: (label, split)} of what lies in the folders of an artifact."""
    return {
        example.source: (example.label, shard.parent.name.removeprefix("Split-"))
        for shard in folder.glob("Split-*/1-*")
        for example in examples_of(shard.read_bytes())
    }


def test_shards_are_brought_as_they_are(storage, workspace, span, tmp_path):
    copy_span(storage, span, str(tmp_path / "examples"))

    assert (tmp_path / "examples/Split-train/1-00000.tfrecord").read_bytes() == workspace.read(SHARD)
    assert brought(tmp_path / "examples") == {source.sha256: (source.label, source.split) for source in span.sources}


@in_a_folder
def test_a_shard_of_a_folder_gets_a_second_name(storage, workspace, span, tmp_path):
    copy_span(storage, span, str(tmp_path / "examples"))

    assert os.path.samefile(tmp_path / "examples/Split-train/1-00000.tfrecord", workspace.root / SHARD)


def test_a_forged_shard_is_named(storage, workspace, span, tmp_path):
    forged = io.BytesIO()
    tfrecord.append(forged, jpeg(99), "cat", 1, "0" * 64)
    workspace.put({SHARD: forged.getvalue()})

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: train/00000.tfrecord is not the file"):
        copy_span(storage, span, str(tmp_path / "examples"))


def test_corrected_examples_are_brought_up_to_what_was_planned(storage, workspace, span, tmp_path):
    first, second, third, *_ = span.sources
    correcting.relabel(storage, [first.sha256], "owl")
    correcting.withdraw(storage, [second.sha256], "not ours")
    (planned,) = spans.published(storage)
    correcting.relabel(storage, [third.sha256], "owl")
    (now,) = spans.published(storage)

    copy_span(storage, as_planned(now, SpanState(planned.digest, planned.corrections.last)), str(tmp_path / "then"))
    copy_span(storage, now, str(tmp_path / "now"))

    sides = {source.sha256: (source.label, source.split) for source in span.sources}
    del sides[second.sha256]
    sides[first.sha256] = ("owl", first.split)
    assert brought(tmp_path / "then") == sides
    assert brought(tmp_path / "now") == sides | {third.sha256: ("owl", third.split)}


def test_a_span_that_holds_something_else_than_planned_is_named(span):
    with pytest.raises(BrokenSpan, match="it was changed after this run was planned"):
        as_planned(span, SpanState("0" * 64, 0))
