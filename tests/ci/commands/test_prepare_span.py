"""Collected images become a span."""


def test_collected_images_become_a_span(ci, collect, workspace):
    collect(7)

    fields = ci("prepare-span", "--json").json

    nothing = {
        "rejected": [],
        "duplicates": 0,
        "conflicts": [],
        "near_duplicates": 0,
        "relabelled": 0,
        "alike": [],
        "dark": [],
    }
    assert fields == nothing | {"span": 1, "images": 7, "labels": {"cat": 4, "dog": 3}}
    assert (workspace / "spans/span-0001/span.json").exists()
    assert ci("count-collected", "--threshold", 1, "--json").json["counted"] == 0


def test_with_nothing_collected_there_is_nothing_to_do(ci):
    done = ci("prepare-span", "--json")

    assert done.code == 0
    assert (done.json["span"], done.json["images"]) == (None, 0)
    assert "Nothing to do" in done.err


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(ci, collect, workspace):
    collect(2)
    (workspace / "collected/cat/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    done = ci("prepare-span", "--json")

    assert (done.code, done.json["images"]) == (0, 2)
    assert [bad["name"] for bad in done.json["rejected"]] == ["cat/cut.png"]
    assert "  cat/cut.png: " + done.json["rejected"][0]["reason"] in done.err.splitlines()
    assert (workspace / "rejected/cat/cut.png").exists()


def test_second_copies_are_archived_and_said(ci, collect):
    collect(3)
    collect(3, prefix="again-")

    done = ci("prepare-span", "--json")

    assert (done.json["images"], done.json["duplicates"]) == (3, 3)
    assert "3 duplicates" in done.err


def test_the_text_names_the_span_and_its_labels(ci, collect):
    collect(3)

    assert ci("prepare-span").out == "3 images became span 1: cat 2, dog 1.\n"
