"""Images wait in collected/, each with a label."""

import itertools
import os

import pytest

from pipeline.data.images import BadImage
from pipeline.data.incoming import collected
from pipeline.data.incoming.collected import label_of
from pipeline.errors import UsageError
from tests.conftest import jpeg, photographs, put
from tests.places import in_a_folder


@pytest.mark.parametrize(
    "name, label",
    [
        ("cat/1.jpg", "cat"),
        ("cat_1.jpg", "cat"),
        ("cat_black_1.jpg", "cat"),
        ("big cat/a_b.png", "big cat"),
        ("cafe\u0301/1.jpg", "caf\u00e9"),
        ("caf\u00e9_1.jpg", "caf\u00e9"),
        ("a..b/1.jpg", "a..b"),
    ],
)
def test_the_label_is_the_folder_or_stands_before_the_underscore(name, label):
    assert label_of(name) == label


@pytest.mark.parametrize("name", ["cat.jpg", "_1.jpg", " _1.jpg", "cat/more/1.jpg", "two\nlines/1.jpg", "\udcff/1.jpg"])
def test_without_a_readable_label_it_is_unknown(name):
    with pytest.raises(BadImage, match="unknown label|folder inside"):
        label_of(name)


def test_counting_goes_no_further_than_the_limit(storage, workspace):
    assert collected.count_up_to(storage, 5) == 0
    workspace.collect(photographs(range(7)) | {"nothing.txt": b"", ".hidden_1.jpg": b"", "cat/.part": b""})

    assert collected.count_up_to(storage, 5) == 5
    assert collected.count_up_to(storage, 100) == 7


def test_images_come_with_their_labels(storage, workspace):
    workspace.collect({"cat/1.jpg": b"", "dog_1.jpg": b""})

    assert {(entry.name, label) for entry, label in collected.images(storage)} == {
        ("collected/cat/1.jpg", "cat"),
        ("collected/dog_1.jpg", "dog"),
    }


def test_what_a_span_in_preparation_has_claimed_still_waits(storage, workspace):
    workspace.collect(photographs(range(4)))
    with storage.stage("collected", "span.json") as stage:
        assert stage.take("span-0001")
        for source in itertools.islice(storage.sources("collected", 1 << 20), 2):
            assert stage.claim(source, "sources")

        assert {label for _, label in collected.images(storage)} == {"cat", "dog"}
        assert collected.count_up_to(storage, 100) == 4
        assert {source.name: source.data for source in collected.sources(storage)} == photographs(range(4))


def test_a_folder_is_copied_and_stays_as_it_is(storage, workspace, tmp_path):
    files = photographs(range(5)) | {"dog_9.jpg": jpeg(9)}
    put(tmp_path / "mine", files)

    added = collected.add(storage, str(tmp_path / "mine"))

    assert (added.images, added.duplicates, added.rejected) == (6, 0, ())
    assert added.labels == {"cat": 3, "dog": 3}
    assert workspace.collected() == files


def test_the_same_folder_again_adds_nothing(storage, workspace, tmp_path):
    put(tmp_path / "mine", photographs(range(5)))
    collected.add(storage, str(tmp_path / "mine"))

    added = collected.add(storage, str(tmp_path / "mine"))

    assert (added.images, added.duplicates) == (0, 5)
    assert workspace.collected() == photographs(range(5))


def test_another_image_of_the_same_name_gets_a_name_of_its_own(storage, workspace, tmp_path):
    for number in (1, 2, 3, 2):
        put(tmp_path / "mine", {"cat/1.jpg": jpeg(number)})
        collected.add(storage, str(tmp_path / "mine"))

    assert workspace.collected() == {"cat/1.jpg": jpeg(1), "cat/1-2.jpg": jpeg(2), "cat/1-3.jpg": jpeg(3)}


def test_what_cannot_be_used_is_copied_aside_with_its_reason_once(storage, workspace, tmp_path):
    put(tmp_path / "mine", photographs(range(2)) | {"cat/cut.jpg": jpeg(9)[:-2], "x.jpg": jpeg(8)})
    os.symlink("/etc/hostname", tmp_path / "mine" / "cat" / "link.jpg")
    os.symlink("/etc", tmp_path / "mine" / "etc")
    for _ in range(2):
        added = collected.add(storage, str(tmp_path / "mine"))

    assert {bad.name: bad.reason for bad in added.rejected} == {
        "cat/cut.jpg": "ends early: no end-of-image marker",
        "x.jpg": "unknown label: the name is neither <label>/<image> nor <label>_<image>",
        "cat/link.jpg": "not a file; links are not followed",
        "etc": "neither a file nor a folder; links are not followed",
    }
    assert sorted(workspace.rejected()) == [
        "cat/cut.jpg",
        "cat/cut.jpg.reason.txt",
        "cat/link.jpg.reason.txt",
        "etc.reason.txt",
        "x.jpg",
        "x.jpg.reason.txt",
    ]
    assert workspace.rejected()["cat/cut.jpg.reason.txt"] == b"ends early: no end-of-image marker\n"


def test_an_empty_folder_is_a_wrong_argument(storage, tmp_path):
    (tmp_path / "mine" / "cat").mkdir(parents=True)

    with pytest.raises(UsageError, match="nothing in .*mine"):
        collected.add(storage, str(tmp_path / "mine"))


def test_what_waits_is_known_by_names_and_generations(storage, workspace):
    assert collected.waiting(storage).images == 0
    workspace.collect(photographs(range(4)))
    first = collected.waiting(storage)
    assert (first.images, first) == (4, collected.waiting(storage))

    workspace.remove("collected/cat/0.jpg")
    workspace.collect({"cat/9.jpg": jpeg(9)})
    other = collected.waiting(storage)
    assert other.images == 4 and other.digest != first.digest

    # Another file under the same name, and of another size: older kernels give two writes within 10 ms the same time.
    workspace.collect({"cat/9.jpg": jpeg(20)})
    assert collected.waiting(storage).digest != other.digest


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"null", b"5", b"\xff", b"[" * 200_000])
@in_a_folder
def test_what_an_evaluation_left_out_counts_when_the_list_of_it_is_damaged(storage, workspace, damaged, caplog):
    workspace.collect(photographs(range(3)))
    workspace.put({collected.LEFT_OUT: damaged})

    assert collected.count_up_to(storage, 10) == 3
    assert "left-out.json is damaged and not used" in caplog.text


def test_images_that_an_evaluation_left_out_do_not_count_until_they_change(storage, workspace):
    workspace.collect(photographs(range(4)))
    (left_out,) = (entry for entry, _ in collected.images(storage) if entry.name == "collected/cat/2.jpg")
    collected.remember_left_out(storage, {left_out.name: left_out.generation})

    assert collected.count_up_to(storage, 10) == 3
    workspace.collect({"cat/2.jpg": jpeg(20)})
    assert collected.count_up_to(storage, 10) == 4
    collected.remember_left_out(storage, {})
    assert collected.left_out(storage) == {}
