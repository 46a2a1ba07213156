"""A span's images become files again, which can be imported."""

import csv
import hashlib

from tests.conftest import encoded, noise


def test_a_span_is_exported_with_its_corrected_labels_and_imported_again(ci, collect, tmp_path):
    collect(5)
    ci("prepare-span")
    ci("relabel", "cat/0.png", "--to", "owl")

    done = ci("export", "1", "--to", tmp_path / "out", "--json")

    assert done.json == {"images": 5, "index": str(tmp_path / "out" / "images.csv")}
    with open(tmp_path / "out" / "images.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["label"] for row in rows) == ["cat", "cat", "dog", "dog", "owl"]
    assert all((tmp_path / "out" / row["image"]).is_file() for row in rows)
    again = ci("import-images", done.json["index"], "--json", WORKSPACE=str(tmp_path / "other"))
    assert again.json["labels"] == {"cat": 2, "dog": 2, "owl": 1}


def test_one_label_is_exported(ci, collect, tmp_path):
    collect(5)
    ci("prepare-span")

    assert ci("export", "span-0001", "--label", "dog", "--to", tmp_path / "out", "--json").json["images"] == 2
    done = ci("export", "1", "--label", "owl", "--to", tmp_path / "none")
    assert done.code == 2 and "no images of label 'owl'" in done.err
    assert ci("export", "7", "--to", tmp_path / "none").code == 2


def test_an_image_that_was_converted_is_listed_with_the_sha256_of_its_original(ci, tmp_path):
    original = encoded(noise(1, "P", (16, 16)), "GIF")
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    (tmp_path / "mine" / "cat" / "1.gif").write_bytes(original)
    ci("import-images", tmp_path / "mine", "--convert")

    ci("export", "1", "--to", tmp_path / "out")

    with open(tmp_path / "out" / "images.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["original"]) == ("cat/1.gif.png", hashlib.sha256(original).hexdigest())
