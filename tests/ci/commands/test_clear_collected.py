"""Making room for images that can be evaluated."""

from tests.ci.conftest import picture


def test_what_cannot_be_used_is_moved_away_with_its_reason(ci, collect, workspace):
    collect(4)
    (workspace / "collected" / "cat" / "copy.png").write_bytes((workspace / "collected" / "cat" / "0.png").read_bytes())
    (workspace / "collected" / "cat" / "broken.png").write_bytes(b"no picture")

    done = ci("clear-collected", "--json")

    assert done.code == 0 and done.json["archived"] == 0
    assert {bad["name"] for bad in done.json["rejected"]} >= {"cat/broken.png"} and len(done.json["rejected"]) == 2
    assert "2 images could not be used" in done.err
    assert len(list((workspace / "collected").rglob("*.png"))) == 4


def test_with_nothing_to_clear_nothing_changes(ci, collect, workspace):
    collect(4)

    assert ci("clear-collected", "--json").json == {"archived": 0, "rejected": [], "conflicts": []}
    assert len(list((workspace / "collected").rglob("*.png"))) == 4


def test_images_under_two_labels_stay_and_are_named(ci, collect, workspace):
    collect(4)
    ci("prepare-span")
    (workspace / "collected" / "dog" / "same.png").write_bytes(picture(0))
    (workspace / "collected" / "cat" / "5.png").write_bytes(picture(5))
    (workspace / "collected" / "dog" / "5.png").write_bytes(picture(5))

    done = ci("clear-collected", "--json")

    found = {(one["name"], one["label"], one["span"], one["there"]) for one in done.json["conflicts"]}
    assert found == {
        ("cat/5.png", "cat", None, "dog"),
        ("dog/5.png", "dog", None, "cat"),
        ("dog/same.png", "dog", 1, "cat"),
    }
    assert "3 images came under two labels; the next span takes neither" in done.err
    assert "cat/5.png: cat here, dog in collected/" in done.err
    assert "dog/5.png: dog here, cat in collected/" in done.err and "relabel NAME --to LABEL" in done.err
    assert len(list((workspace / "collected").rglob("*.png"))) == 3
    assert ci("prepare-span", "--json").json["images"] == 0
    assert not list((workspace / "collected").rglob("*.png"))
