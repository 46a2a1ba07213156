"""Datasets for AutoML, as Vertex AI imports them."""

import json

import pytest

from pipeline.data import automl_dataset, spans
from pipeline.data.span import published
from pipeline.errors import InvalidDataset
from pipeline.storage.factory import open_storage
from tests.conftest import collect, jpeg


def images(labels: str, each: int) -> dict[str, bytes]:
    """Images of one look each, `each` a label."""
    return {f"{label}/{number}.jpg": jpeg(1000 * ord(label) + number) for label in labels for number in range(each)}


@pytest.fixture
def workspace(tmp_path):
    """A workspace of two spans, of 40 and of 20 images."""
    storage = open_storage(str(tmp_path / "workspace"))
    for labels in ("ab", "c"):
        collect(storage, images(labels, 20))
        spans.prepare(storage)
    return storage


def lines(address: str) -> list[dict]:
    with open(address, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_every_image_is_listed_once_with_its_label_span_and_use(workspace, tmp_path):
    chosen = published(workspace)
    to = open_storage(str(tmp_path / "out"))

    dataset = automl_dataset.export(chosen, to)

    rows = lines(dataset.import_file)
    assert len(rows) == dataset.images == 60
    examples = {
        example.source: (example, span.number, split)
        for span in chosen
        for split in ("train", "eval")
        for example in span.examples(split)
    }
    for row in rows:
        example, span, split = examples.pop(automl_dataset.digest_of(row["imageGcsUri"]))
        with open(row["imageGcsUri"], "rb") as file:
            assert file.read() == example.image
        assert row["classificationAnnotation"] == {"displayName": example.label}
        use = row["dataItemResourceLabels"]["aiplatform.googleapis.com/ml_use"]
        assert row["dataItemResourceLabels"]["span"] == str(span)
        assert (use == "test") == (split == "eval") and use in ("training", "validation", "test")
    assert not examples
    of_training = {row["classificationAnnotation"]["displayName"] for row in rows if used(row) == "training"}
    of_validation = {row["classificationAnnotation"]["displayName"] for row in rows if used(row) == "validation"}
    assert of_training == of_validation == {"a", "b", "c"}


def used(row: dict) -> str:
    return row["dataItemResourceLabels"]["aiplatform.googleapis.com/ml_use"]


def test_the_instances_are_the_images_for_evaluation(workspace, tmp_path):
    dataset = automl_dataset.export(published(workspace), open_storage(str(tmp_path / "out")))

    expected = [row["imageGcsUri"] for row in lines(dataset.import_file) if used(row) == "test"]
    assert lines(dataset.instances) == [{"content": address, "mimeType": "image/jpeg"} for address in expected]


def test_an_interrupted_export_goes_on_and_the_same_spans_give_the_same_files(workspace, tmp_path):
    to = open_storage(str(tmp_path / "out"))

    (first,) = spans.select("1", published(workspace))
    whole = automl_dataset.export(published(workspace), to)
    marked = next(entry.name for entry in to.list("images"))
    to.write(marked, b"as it was")
    again = automl_dataset.export(published(workspace), to)

    assert again == whole and to.read(marked) == b"as it was"
    part = automl_dataset.export([span for span in published(workspace) if span.number == first], to)
    assert part.images == 40 and part.import_file != whole.import_file
    assert len(list(to.list("images"))) == 60


def test_images_of_one_group_are_on_one_side(tmp_path):
    storage = open_storage(str(tmp_path / "workspace"))
    collect(storage, images("ab", 40))
    spans.prepare(storage, group_of=lambda name: f"{name[0]}{int(name[2:].partition('.')[0]) // 4}")
    chosen = published(storage)

    dataset = automl_dataset.export(chosen, open_storage(str(tmp_path / "out")))

    groups = {source.sha256: source.group for span in chosen for source in span.sources}
    sides: dict[str, set[str]] = {}
    for row in lines(dataset.import_file):
        sides.setdefault(groups[automl_dataset.digest_of(row["imageGcsUri"])], set()).add(used(row))
    assert len(sides) == 20 and all(len(uses) == 1 for uses in sides.values())


@pytest.mark.parametrize(
    ("labels", "each", "problem"),
    [("a", 30, "1 label"), ("ab", 9, "label 'a' has 9 images, but it takes at least 10 a label")],
)
def test_what_automl_would_refuse_is_refused_before(tmp_path, labels, each, problem):
    storage = open_storage(str(tmp_path / "workspace"))
    collect(storage, images(labels, each))
    spans.prepare(storage)

    with pytest.raises(InvalidDataset, match=problem):
        automl_dataset.check(published(storage))


def test_an_image_that_is_too_large_for_automl_is_named(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(automl_dataset, "MOST_IMAGE_BYTES", 100)

    with pytest.raises(InvalidDataset, match="image [0-9a-f]{64} of span 1 has 0 MB"):
        automl_dataset.export(published(workspace), open_storage(str(tmp_path / "out")))


def test_spans_that_automl_takes_pass(workspace):
    automl_dataset.check(published(workspace))
