"""Importing folders of labelled images."""

import hashlib
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from tests.ci.conftest import ROOT, picture
from tests.conftest import encoded, noise


@pytest.fixture
def photographs(tmp_path):
    """A folder of five images: in folders by label, and with the label in the name."""
    folder = tmp_path / "photographs"
    (folder / "cat").mkdir(parents=True)
    for number in range(3):
        (folder / "cat" / f"{number}.png").write_bytes(picture(number))
    for number in range(3, 5):
        (folder / f"dog_{number}.png").write_bytes(picture(number))
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOUND = {
    "imported": 5,
    "rejected": [],
    "conflicts": [],
    "labels": {"cat": 3, "dog": 2},
    "duplicates": 0,
    "relabelled": 0,
    "near_duplicates": 0,
    "alike": [],
    "dark": [],
}


def test_a_folder_becomes_a_span_and_stays_as_it_is(ci, photographs, workspace):
    before = files(photographs)

    done = ci("import-images", photographs, "--json")

    assert done.code == 0
    assert done.json == FOUND | {"span": 1}
    assert (workspace / "spans/span-0001/span.json").exists()
    assert files(photographs) == before


def test_the_same_folder_makes_no_second_span(ci, photographs):
    ci("import-images", photographs)

    done = ci("import-images", photographs, "--json")

    assert done.code == 0
    assert (done.json["imported"], done.json["span"], done.json["duplicates"]) == (0, None, 5)
    assert "already" in done.err


def test_images_can_be_collected_instead(ci, photographs, workspace):
    done = ci("import-images", photographs, "--collect", "--json")

    assert done.json == FOUND | {"span": None}
    assert files(workspace / "collected") == files(photographs)
    assert not (workspace / "spans").exists()


def test_collecting_the_same_again_changes_nothing(ci, photographs, workspace):
    ci("import-images", photographs, "--collect")

    fields = ci("import-images", photographs, "--collect", "--json").json

    assert (fields["imported"], fields["duplicates"]) == (0, 5)
    assert files(workspace / "collected") == files(photographs)


def test_another_image_of_the_same_name_is_kept_beside_the_first(ci, photographs, workspace):
    ci("import-images", photographs, "--collect")
    (photographs / "cat" / "0.png").write_bytes(picture(100))

    assert ci("import-images", photographs, "--collect", "--json").json["imported"] == 1

    collected = files(workspace / "collected")
    assert len(collected) == 6
    assert collected["cat/0.png"] == picture(0) and picture(100) in collected.values()


@pytest.mark.parametrize("collect", [[], ["--collect"]])
def test_what_cannot_be_used_is_set_aside_with_its_reason(ci, photographs, workspace, collect):
    (photographs / "cat" / "cut.png").write_bytes(picture(9)[:40])
    (photographs / "cat" / "empty.jpg").write_bytes(b"")
    (photographs / "nolabel.png").write_bytes(picture(8))

    done = ci("import-images", photographs, *collect, "--json")

    assert (done.code, done.json["imported"]) == (0, 5)
    assert {bad["name"] for bad in done.json["rejected"]} == {"cat/cut.png", "cat/empty.jpg", "nolabel.png"}
    assert all(bad["reason"] for bad in done.json["rejected"])
    assert {"cat/cut.png", "cat/empty.jpg", "nolabel.png"} <= set(files(workspace / "rejected"))


def test_of_many_that_cannot_be_used_people_are_shown_some(ci, photographs):
    for number in range(30):
        (photographs / "cat" / f"bad-{number:02}.png").write_bytes(b"no image %d" % number)

    done = ci("import-images", photographs, "--json")

    assert len(done.json["rejected"]) == 30
    assert "  and 20 more" in done.err.splitlines()
    assert len(done.err.splitlines()) < 15


@pytest.mark.parametrize(
    "name",
    [
        "two\nlines",
        "spaces and tabs\t",
        "Straße",
        "x..",
        "::add-mask::x",
        pytest.param(
            os.fsdecode(b"\xff\xfe"),
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names"),
        ),
    ],
)
def test_no_name_breaks_the_output(ci, tmp_path, name):
    folder = tmp_path / "odd" / "cat"
    folder.mkdir(parents=True)
    (folder / "good.png").write_bytes(picture(1))
    (folder / f"{name}.png").write_bytes(picture(2))
    (folder / f"{name}.jpg").write_bytes(b"no image")

    done = ci("import-images", tmp_path / "odd", "--json", PYTHONIOENCODING="ascii")

    assert (done.code, done.json["imported"]) == (0, 2)
    assert [bad["name"] for bad in done.json["rejected"]] == [f"cat/{name}.jpg"]
    assert all(line.isprintable() for line in done.err.splitlines())
    assert not any(line.startswith("::") for line in done.err.splitlines())


@pytest.mark.parametrize("label", ["two\nlines", "\x1b[31mred"])
def test_no_label_breaks_the_output(ci, tmp_path, label):
    (tmp_path / "odd" / label).mkdir(parents=True)
    (tmp_path / "odd" / label / "1.png").write_bytes(picture(1))

    done = ci("import-images", tmp_path / "odd")

    assert done.code == 0
    assert all(line.isprintable() for line in done.out.splitlines())


def test_a_folder_that_is_not_there_is_a_wrong_argument(ci, tmp_path):
    done = ci("import-images", tmp_path / "absent")

    assert (done.code, done.out) == (2, "")
    assert "absent" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("collect", [[], ["--collect"]])
def test_an_empty_folder_is_a_wrong_argument(ci, tmp_path, collect):
    (tmp_path / "empty" / "cat").mkdir(parents=True)

    done = ci("import-images", tmp_path / "empty", *collect)

    assert (done.code, done.out) == (2, "")
    assert "empty" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["somewhere", "--demo"], ["somewhere", "--limit", "3"], ["--demo", "--skip", "1000"]]
)
def test_options_that_do_not_fit_are_refused(ci, arguments):
    done = ci("import-images", *arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_the_demo_brings_its_own_images_from_two_cameras(ci, workspace):
    first = ci("import-images", "--demo", "--limit", 30, "--json").json
    assert (first["imported"], first["span"]) == (30, 1)

    few = ci("import-images", "--demo", "--collect", "--limit", 5, "--json").json
    more = ci("import-images", "--demo", "--collect", "--skip", 5, "--limit", 20, "--json").json
    assert (few["imported"], more["imported"], more["span"]) == (5, 20, None)
    assert len(files(workspace / "collected")) == 25

    assert ci("prepare-span", "--json").json["images"] == 25  # none of them was in the first span


def test_a_full_disk_is_one_readable_line(ci, photographs, small_disk):
    for number in range(400):
        (photographs / "cat" / f"more-{number}.png").write_bytes(picture(1000 + number) + bytes(4096))

    done = ci("import-images", photographs, "--collect", "--json", WORKSPACE=str(small_disk))

    assert (done.code, done.out) == (1, "")
    assert "No space left" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("inside", ["", "loop"])
@pytest.mark.parametrize("command", [["import-images", "--demo"], ["status"], ["train"]])
def test_a_workspace_that_is_a_file_is_a_wrong_setting(ci, tmp_path, command, inside):
    (tmp_path / "file").write_text("")

    done = ci(*command, WORKSPACE=str(tmp_path / "file" / inside))

    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path / 'file'}" in done.err and "is a file: set WORKSPACE" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("collect", [[], ["--collect"]])
def test_for_a_folder_of_folders_by_label_the_one_that_is_meant_is_named(ci, photographs, workspace, tmp_path, collect):
    shutil.copytree(photographs / "cat", tmp_path / "photos" / "train" / "cat")
    (tmp_path / "photos" / "train" / "tom cat").mkdir()
    (tmp_path / "photos" / "train" / "tom cat" / "1.png").write_bytes(picture(20))
    (tmp_path / "photos" / "val" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "val" / "cat" / "1.jpeg").write_bytes(picture(10))
    (tmp_path / "photos" / "README_first.md").write_text("Cats and dogs.")

    done = ci("import-images", "photos", *collect, cwd=tmp_path, PYTHONPATH=str(ROOT))

    assert (done.code, done.out) == (2, "")
    assert "did you mean photos/train?" in done.err and done.err.count("\n") == 1
    assert not (workspace / "rejected").exists() and not (workspace / "spans").exists()
    assert ci("import-images", tmp_path / "photos" / "train", "--json").json["imported"] == 4


def test_a_folder_that_holds_one_more_level_beside_its_images_is_imported(ci, photographs):
    shutil.copytree(photographs / "cat", photographs / "more" / "cat")

    done = ci("import-images", photographs, "--json")

    assert (done.code, done.json["imported"]) == (0, 5)
    assert [bad["name"] for bad in done.json["rejected"]] == ["more/cat"]


def test_the_folder_may_be_moved_away_afterwards(ci, photographs, workspace):
    ci("import-images", photographs, "--collect")
    shutil.rmtree(photographs)

    assert ci("prepare-span", "--json").json["images"] == 5


@pytest.mark.parametrize("collect", [False, True])
def test_images_of_other_formats_become_pngs_that_name_their_original(ci, photographs, workspace, collect):
    original = encoded(noise(7, "RGB", (16, 16)), "WEBP")
    (photographs / "cat" / "7.webp").write_bytes(original)
    (photographs / "cat" / "cmyk.tif").write_bytes(encoded(noise(8, "CMYK", (16, 16)), "TIFF"))
    assert "--convert" in ci("import-images", photographs, "--collect", "--json").json["rejected"][0]["reason"]

    done = ci("import-images", photographs, "--convert", *["--collect"] * collect, "--json")

    assert done.json["imported"] == (1 if collect else 6)  # all others were collected before
    assert [bad["name"] for bad in done.json["rejected"]] == ["cat/cmyk.tif"]
    assert "no CMYK" in done.json["rejected"][0]["reason"]
    if collect:
        assert ci("prepare-span", "--json").json["images"] == 6
    sources = json.loads((workspace / "spans/span-0001/span.json").read_text())["sources"]
    originals = {source["name"]: source.get("original") for source in sources}
    assert originals.pop("cat/7.webp.png") == hashlib.sha256(original).hexdigest()
    assert set(originals.values()) == {None}
    again = ci("import-images", photographs, "--convert", "--json").json
    assert (again["imported"], again["duplicates"]) == (0, 6)


def test_labels_of_images_that_were_converted_are_corrected_by_their_originals(ci, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label / label).mkdir(parents=True)
        (tmp_path / label / label / "1.gif").write_bytes(encoded(noise(7, "P", (16, 16)), "GIF"))
    ci("import-images", tmp_path / "cat", "--convert")

    conflict = ci("import-images", tmp_path / "dog", "--convert", "--json").json["conflicts"]
    corrected = ci("import-images", tmp_path / "dog", "--convert", "--corrections", "--json").json

    assert [(one["name"], one["label"], one["there"]) for one in conflict] == [("dog/1.gif.png", "dog", "cat")]
    assert corrected["relabelled"] == 1
    assert ci("status", "--json").json["spans"][0]["labels"] == {"dog": 1}


@pytest.mark.parametrize("folder", ["train", "Images"])
def test_a_folder_called_like_a_part_of_a_data_set_is_no_label_unless_it_is_said(ci, tmp_path, workspace, folder):
    photos = tmp_path / "photos"
    (photos / folder).mkdir(parents=True)
    (photos / folder / "dog_1.png").write_bytes(picture(1))

    done = ci("import-images", photos)

    assert (done.code, done.out) == (2, "") and not (workspace / "spans").exists()
    assert f"'{folder}' would be the label of all images in {photos}, such as {folder}/dog_1.png" in done.err
    assert f"did you mean {photos}/{folder}?" in done.err and done.err.count("\n") == 1
    said = ci("import-images", photos, "--collect", "--label-separator", "first", "--json")
    assert said.json["labels"] == {folder: 1}
    assert ci("import-images", photos / folder, "--json", WORKSPACE=str(tmp_path / "w")).json["labels"] == {"dog": 1}


def test_beside_another_label_such_a_name_is_one(ci, tmp_path):
    for label in ("train", "car"):
        (tmp_path / "vehicles" / label).mkdir(parents=True)
        (tmp_path / "vehicles" / label / f"{label}_1.png").write_bytes(picture(len(label)))

    assert ci("import-images", tmp_path / "vehicles", "--json").json["labels"] == {"car": 1, "train": 1}


@pytest.mark.parametrize("collect", [[], ["--collect"]])
def test_an_image_of_sixteen_bits_that_uses_twelve_is_said_to_look_black(ci, tmp_path, collect):
    (tmp_path / "xray" / "lung").mkdir(parents=True)
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    (tmp_path / "xray" / "lung" / "dark.png").write_bytes(encoded(Image.fromarray(values), "PNG"))
    (tmp_path / "xray" / "lung" / "bright.png").write_bytes(encoded(Image.fromarray(values * 16), "PNG"))

    done = ci("import-images", tmp_path / "xray", *collect, "--json")

    assert done.json["imported"] == 2
    assert [one["name"] for one in done.json["dark"]] == ["lung/dark.png"]
    assert "lung/dark.png: looks nearly black: 16-bit values up to 4095; scale them" in done.err
