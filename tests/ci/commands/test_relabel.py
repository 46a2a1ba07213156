"""Published images get another label."""

from tests.ci.conftest import picture


def test_an_image_is_relabelled_once(ci, collect):
    collect(5)
    ci("prepare-span")

    first, again = (ci("relabel", "cat/0.png", "--to", "dog", "--json") for _ in range(2))

    assert first.json == {"relabelled": 1, "unchanged": 0, "to": "dog", "spans": [1]}
    assert again.json == {"relabelled": 0, "unchanged": 1, "to": "dog", "spans": []}
    assert ci("status", "--json").json["spans"] == [{"span": 1, "images": 5, "labels": {"cat": 2, "dog": 3}}]


def test_an_import_says_which_labels_are_right(ci, collect, tmp_path):
    collect(5)
    ci("prepare-span")
    (tmp_path / "right" / "dog").mkdir(parents=True)
    (tmp_path / "right" / "dog" / "x.png").write_bytes(picture(0))

    conflict = ci("import-images", tmp_path / "right", "--json").json["conflicts"]
    corrected = ci("import-images", tmp_path / "right", "--corrections", "--json").json

    assert conflict == [{"name": "dog/x.png", "label": "dog", "span": 1, "there": "cat"}]
    assert (corrected["relabelled"], corrected["conflicts"], corrected["span"]) == (1, [], None)
    assert ci("status", "--json").json["spans"][0]["labels"] == {"cat": 2, "dog": 3}


def test_what_is_not_there_is_a_wrong_argument(ci, collect):
    collect(2)
    ci("prepare-span")

    done = ci("relabel", "cat/99.png", "--to", "dog")

    assert done.code == 2 and "There is no image or span 'cat/99.png'" in done.err
