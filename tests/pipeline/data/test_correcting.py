"""Labels of published images are corrected, and images withdrawn; whatever reads a span sees it."""

import itertools
import json
import os

import pytest

from pipeline.data import correcting, corrections, spans
from pipeline.data.corrections import WITHDRAW
from pipeline.data.known import Known
from pipeline.errors import BrokenSpan, UsageError
from pipeline.storage.folder import Folder
from tests.conftest import encoded, jpeg, noise, photographs, put
from tests.killing import killed_at_each_step
from tests.pipeline.data.test_spans import sha256
from tests.places import in_a_folder


@pytest.fixture
def published(storage, workspace):
    """Span 1 with 30 images, span 2 with 10."""
    for numbers in (range(30), range(100, 110)):
        workspace.collect(photographs(numbers))
        spans.prepare(storage)


def labels_of(span) -> dict[str, str]:
    return {example.source: example.label for split in ("train", "eval") for example in span.examples(split)}


def test_an_image_gets_another_label_wherever_it_is_read(storage, workspace, published):
    before = spans.published(storage)
    files = workspace.files("spans/span-0001")

    found = correcting.relabel(storage, ["cat/0.jpg", "span-0001/cat/2.jpg", sha256(jpeg(4))[:12]], "dog")

    assert (found.changed, found.unchanged, found.spans) == (3, 0, {1: 3})
    first, second = spans.published(storage)
    assert (first.images, first.labels) == (30, {"cat": 12, "dog": 18})
    assert second == before[1]
    labels = labels_of(first)
    assert [labels[sha256(jpeg(number))] for number in (0, 2, 4, 6)] == ["dog", "dog", "dog", "cat"]
    assert [source.label for source in first.sources if source.name == "cat/0.jpg"] == ["dog"]
    assert Known(storage, spans.published(storage)).holder(bytes.fromhex(sha256(jpeg(0)))).label == "dog"
    assert first.digest != before[0].digest and second.digest == before[1].digest
    assert {name: data for name, data in workspace.files("spans/span-0001").items() if name in files} == files


def test_correcting_twice_changes_nothing_and_the_last_correction_counts(storage, workspace, published):
    for label, changed in (("dog", 1), ("dog", 0), ("owl", 1), ("cat", 1)):
        assert correcting.relabel(storage, ["cat/0.jpg"], label).changed == changed
        first, _ = spans.published(storage)
        assert labels_of(first)[sha256(jpeg(0))] == label
    assert first.labels == {"cat": 15, "dog": 15}
    assert sorted(workspace.files("spans/span-0001/corrections")) == ["00001.json", "00002.json", "00003.json"]


def test_a_whole_span_gets_a_label(storage, published):
    assert correcting.relabel(storage, ["2"], "owl").spans == {2: 10}
    assert correcting.relabel(storage, ["span-0002"], "owl").changed == 0
    assert spans.published(storage)[1].labels == {"owl": 10}


def test_a_withdrawn_image_is_read_by_nothing(storage, workspace, published):
    found = correcting.withdraw(storage, ["cat/0.jpg", "dog/1.jpg"], "not ours")

    assert (found.changed, found.spans) == (2, {1: 2})
    first, _ = spans.published(storage)
    assert (first.images, first.labels) == (28, {"cat": 14, "dog": 14})
    assert first.count("train") + first.count("eval") == 28 == len(labels_of(first))
    assert {sha256(jpeg(0)), sha256(jpeg(1))}.isdisjoint(labels_of(first))
    assert correcting.withdraw(storage, ["cat/0.jpg"], "again").changed == 0
    workspace.collect({"cat/again.jpg": jpeg(0)})
    prepared = spans.prepare(storage)
    assert [bad.reason for bad in prepared.rejected] == ["withdrawn from span 1: not ours"]
    assert prepared.span is None and workspace.rejected()["cat/again.jpg"] == jpeg(0)


@pytest.mark.parametrize(
    "wanted, message",
    [
        ("cat/99.jpg", "There is no image or span 'cat/99.jpg'"),
        ("3", "There is no image or span '3'"),
        ("span-0002/cat/0.jpg", "There is no image or span"),
        ("0" * 64, "There is no image or span"),
    ],
)
def test_what_is_not_there_is_named(storage, published, wanted, message):
    with pytest.raises(UsageError, match=message):
        correcting.withdraw(storage, ["cat/0.jpg", wanted], "why")
    assert all(not span.corrections.last for span in spans.published(storage))


def test_a_name_in_several_spans_has_to_be_made_clear(storage, workspace, published):
    workspace.collect({"cat/0.jpg": jpeg(500)})
    spans.prepare(storage)

    with pytest.raises(UsageError, match="names 2 images: span-0001/cat/0.jpg, span-0003/cat/0.jpg"):
        correcting.relabel(storage, ["cat/0.jpg"], "dog")
    assert correcting.relabel(storage, ["span-0003/cat/0.jpg"], "dog").spans == {3: 1}


def test_a_withdrawal_needs_a_reason(storage, published):
    with pytest.raises(UsageError, match="--why is empty"):
        correcting.withdraw(storage, ["cat/0.jpg"], " ")


@pytest.mark.parametrize("label", ["", " ", "two\nlines"])
def test_a_label_that_nobody_can_read_is_refused(storage, published, label):
    with pytest.raises(UsageError, match="no readable text"):
        correcting.relabel(storage, ["cat/0.jpg"], label)


IMAGE = {"name": "cat/0.jpg", "sha256": "5e" * 32, "label": "cat", "split": "train", "generation": ""}


@pytest.mark.parametrize(
    "damaged",
    [
        {"kind": "relabel"},
        {"kind": "relabel", "to": None, "images": [IMAGE]},
        {"kind": "move", "to": "test", "images": [IMAGE]},
        {"kind": "relabel", "to": "dog", "images": [IMAGE | {"sha256": "5e"}]},
        {"kind": "relabel", "to": "two\nlines", "images": [IMAGE]},
        {"kind": "relabel", "to": "", "images": [IMAGE]},
        {"kind": "withdraw", "why": "asked for", "erase": True, "images": ["cat/0.jpg"]},
        {"kind": "withdraw", "why": "asked for", "erase": "no", "images": [IMAGE]},
        {"kind": "withdraw", "why": {}, "erase": False, "images": [IMAGE]},
        {"kind": "withdraw", "why": "of another span", "erase": False, "images": [IMAGE]},
        [],
    ],
    ids=str,
)
@in_a_folder
def test_a_damaged_correction_is_named(storage, workspace, published, damaged):
    workspace.put({"spans/span-0001/corrections/00001.json": json.dumps(damaged).encode()})

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: corrections/00001.json"):
        spans.published(storage)


@in_a_folder
def test_what_span_json_says_of_an_image_counts_whatever_a_correction_repeats(storage, workspace, published):
    image = spans.published(storage)[0].listed[0]._replace(label="fish")
    other_side = {"train": "eval", "eval": "train"}[image.split]

    for _ in range(2):
        corrections.write(storage, 1, WITHDRAW, [image._replace(split=other_side)] * 2, why="not ours", erase=False)

    first, _ = spans.published(storage)
    labels = labels_of(first)
    assert first.images == len(labels) == sum(first.labels.values()) == 29
    assert (first.count("train"), first.count("eval")) == tuple(
        len(list(first.examples(split))) for split in ("train", "eval")
    )


FILES, FOLDERS = ("span.json", "corrections/00001.json"), ("", "corrections")


@pytest.mark.parametrize(
    "name, instead",
    [
        *itertools.product(FILES, ["folder", "link", "dangling link", "pipe"]),
        *itertools.product(FOLDERS, ["file", "link", "dangling link", "pipe"]),
    ],
)
@in_a_folder
def test_what_takes_the_place_of_a_file_or_folder_of_a_span_is_named(
    storage, workspace, published, name, instead, tmp_path
):
    path = workspace.root / "spans/span-0001" / name
    correcting.withdraw(storage, ["cat/0.jpg"], "not ours")
    path.rename(tmp_path / "elsewhere")
    put_in_its_place = {
        "folder": path.mkdir,
        "file": path.touch,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
        "dangling link": lambda: path.symlink_to("/nowhere"),
    }
    put_in_its_place[instead]()

    for reads in (lambda: spans.published(storage), lambda: spans.prepare(storage)):
        with pytest.raises(BrokenSpan, match=f"span-0001 cannot be used: {name or 'it'} is a "):
            reads()


@pytest.mark.parametrize("name", ["1.json", "000001.json", "00001.JSON", "00000.json", "copy of 00001.json"])
@in_a_folder
def test_a_correction_of_another_name_is_named(storage, workspace, published, name):
    correcting.withdraw(storage, ["cat/0.jpg"], "not ours")
    folder = workspace.root / "spans/span-0001/corrections"
    (folder / "00001.json").rename(folder / name)

    with pytest.raises(BrokenSpan, match=f"corrections/{name} is not how a correction is called"):
        spans.published(storage)


@in_a_folder
def test_a_correction_larger_than_any_is_not_read(storage, workspace, published):
    correcting.withdraw(storage, ["cat/0.jpg"], "not ours")
    os.truncate(workspace.root / "spans/span-0001/corrections/00001.json", 2**34)

    with pytest.raises(BrokenSpan, match="00001.json has 17,179,869,184 bytes, more than any correction"):
        spans.published(storage)


WANTED = ["cat/0.jpg", "span-0002/cat/100.jpg"]


@pytest.mark.parametrize("verb, what", [("relabel", "owl"), ("withdraw", "not ours")])
@in_a_folder
def test_killed_at_each_step_the_same_call_completes_it(storage, workspace, published, verb, what):
    work = f"(lambda storage: correcting.{verb}(storage, {WANTED!r}, {what!r}))"
    with killed_at_each_step(workspace, "from pipeline.data import correcting", work) as killed:
        assert len(killed) > 30
        ends = set()
        for found in killed:
            folder = Folder(found.address)
            for span in spans.published(folder):
                assert span.images == len(labels_of(span)) == sum(span.labels.values())
            getattr(correcting, verb)(folder, WANTED, what)
            ends.add(str([sorted(labels_of(span).items()) for span in spans.published(folder)]))
        assert len(ends) == 1


def test_an_image_that_is_like_both_sides_moves_the_others_to_training(storage, workspace, published):
    first, _ = spans.published(storage)
    image, *_ = (source for source in first.sources if source.split == "eval")

    corrections.write(storage, 1, corrections.MOVE, [image], to="train")

    moved, _ = spans.published(storage)
    assert image.sha256 in {example.source for example in moved.examples("train")}
    assert image.sha256 not in {example.source for example in moved.examples("eval")}
    assert (moved.count("eval"), moved.count("train")) == (first.count("eval") - 1, first.count("train") + 1)
    assert json.loads(workspace.read("spans/span-0001/corrections/00001.json"))["to"] == "train"


def test_an_image_that_was_converted_is_found_by_its_original(storage, tmp_path):
    original = encoded(noise(1, "P", (16, 16)), "GIF")
    put(tmp_path, {"mine/cat/1.gif": original})
    spans.import_folder(storage, str(tmp_path / "mine"), convert=True)

    assert correcting.relabel(storage, [sha256(original)], "dog").changed == 1
    assert correcting.withdraw(storage, [sha256(original)[:12]], "not ours").changed == 1

    again = spans.import_folder(storage, str(tmp_path / "mine"), convert=True)
    assert [bad.reason for bad in again.rejected] == ["withdrawn from span 1: not ours"]
    assert spans.published(storage)[0].images == 0
