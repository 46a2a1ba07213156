"""Spans become a dataset that Vertex AI imports."""

import json


def test_spans_are_exported_with_corrected_labels(ci, collect, tmp_path):
    collect(12)
    ci("prepare-span")
    ci("relabel", "cat/0.png", "--to", "owl")
    ci("withdraw", "dog/1.png", "--why", "asked for")

    done = ci("export-dataset", "--to", tmp_path / "out", "--json")

    assert done.code == 0, done.err
    with open(done.json["import_file"], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    labels = [row["classificationAnnotation"]["displayName"] for row in rows]
    assert done.json["images"] == len(rows) == sum(done.json["uses"].values()) == 11
    assert labels.count("owl") == 1
    assert all((tmp_path / "out" / "images").joinpath(row["imageGcsUri"].rpartition("/")[2]).is_file() for row in rows)


def test_without_a_span_the_next_step_is_named(ci, tmp_path):
    done = ci("export-dataset", "--to", tmp_path / "out")

    assert done.code == 1 and "import-images" in done.err
