"""What spans hold is shown: labels, corrections, images that look alike, and how spans differ."""

import io

from PIL import Image

from tests.conftest import noise, put


def saved(number: int, quality: int, brighter: int = 0) -> bytes:
    """A photograph of 64 x 64 pixels, distinct for each number, as a camera or a messenger saved it."""
    out = io.BytesIO()
    image = noise(number, "RGB", (64, 64)).point(lambda level: min(level // 2 + brighter, 255))
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def test_images_that_look_alike_under_different_labels_are_named(ci, tmp_path):
    photographs = {f"cat/{number}.jpg": saved(number, 95) for number in range(6)}
    put(tmp_path / "first", {**photographs, "dog/again.jpg": saved(2, 60), "cat/smaller.jpg": saved(4, 50)})
    put(tmp_path / "second", {f"dog/{number}.jpg": saved(number, 95, brighter=120) for number in range(10, 16)})
    for folder in ("first", "second"):
        ci("import-images", tmp_path / folder)
    ci("relabel", "cat/5.jpg", "--to", "dog")
    ci("withdraw", "cat/0.jpg", "--why", "asked for")

    done = ci("inspect", "--json")

    first, second = done.json["spans"]
    assert (first["images"], first["labels"], first["relabelled"], first["withdrawn"]) == (
        7,
        {"cat": 5, "dog": 2},
        1,
        1,
    )
    assert sum(first["splits"].values()) == 7 and first["drift"] is None
    # all of the second span are dogs, of the first two of seven; and they are brighter
    assert round(second["drift"]["labels"], 3) == 0.714 and second["drift"]["brightness"] > 0.5
    assert second["brightness"] > first["brightness"] + 100
    ((one, other),) = done.json["contradicting"]
    assert {(one["name"], one["label"]), (other["name"], other["label"])} == {
        ("cat/2.jpg", "cat"),
        ("dog/again.jpg", "dog"),
    }
    assert one["split"] == other["split"] and done.json["images_alike"] == 4 and len(done.json["alike"]) == 2
    assert "1 set of these with different labels" in done.err and "cat 1, dog 1: dog/again.jpg of span 1" in done.err


def test_chosen_spans_and_an_empty_workspace_are_inspected(ci, collect):
    assert ci("inspect", "--json").json == {"spans": [], "images_alike": 0, "alike": [], "contradicting": []}
    collect(3)
    ci("prepare-span")
    assert [span["span"] for span in ci("inspect", "--spans", "1", "--json").json["spans"]] == [1]
    assert ci("inspect", "--spans", "4").code == 2


def test_an_image_as_often_as_a_hundred_times_is_one_set(ci, tmp_path):
    image = Image.open(io.BytesIO(saved(1, 95)))
    for quality in range(20, 60):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        put(tmp_path / "many", {f"cat/{quality}.jpg": out.getvalue()})
    ci("import-images", tmp_path / "many")
    done = ci("inspect", "--json")
    assert [len(images) for images in done.json["alike"]] == [done.json["images_alike"]] == [40]
    assert not done.json["contradicting"] and "40 images in 1 set that look alike." in done.err
