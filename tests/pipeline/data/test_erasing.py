"""What is erased is gone from the workspace, whenever the process was killed."""

import pathlib

import pytest

from pipeline.data import automl_dataset, correcting, erasing, spans
from pipeline.data.incoming import collected
from pipeline.storage.folder import Folder
from tests.conftest import encoded, jpeg, noise, photographs, put
from tests.killing import killed_at_each_step
from tests.pipeline.data.test_spans import sha256
from tests.places import in_a_folder

ERASED = (0, 3, 6)


@pytest.fixture
def withdrawn(storage, workspace) -> None:
    """Span 1 with 30 images, three of which are withdrawn for ever; copies of them lie in several places."""
    workspace.collect(photographs(range(30)) | {"cat/copy.jpg": jpeg(0)})
    spans.prepare(storage)
    workspace.collect({"dog/conflict.jpg": jpeg(6), "cat/copy.jpg": jpeg(6)})
    spans.prepare(storage)
    names = [f"{('cat', 'dog')[number % 2]}/{number}.jpg" for number in ERASED]
    correcting.withdraw(storage, names, "asked for", erase=True)
    workspace.collect({"cat/late.jpg": jpeg(0), "cat/new.jpg": jpeg(40)})


def assert_erased(workspace) -> None:
    place = Folder(workspace.address) if isinstance(workspace.root, pathlib.Path) else None
    files = workspace.files()
    for number in ERASED:
        assert not [name for name, data in files.items() if jpeg(number) in data]
    if place:
        (span,) = spans.published(place)
        assert (span.images, span.labels) == (27, {"cat": 13, "dog": 14})
        assert len(list(span.examples("train"))) + len(list(span.examples("eval"))) == 27


def test_the_bytes_are_gone_and_all_others_stay(storage, workspace, withdrawn):
    before = {name: data for name, data in workspace.archived().items()}

    erased = erasing.erase(storage)

    files = workspace.files()
    assert not [name for name, data in files.items() if any(jpeg(number) in data for number in ERASED)]
    (span,) = spans.published(storage)
    assert (span.images, span.labels) == (27, {"cat": 13, "dog": 14})
    kept = {example.image for split in ("train", "eval") for example in span.examples(split)}
    assert kept == {jpeg(number) for number in range(30) if number not in ERASED}
    assert len(span.sources) == len(span.listed) == 27
    gone = [name for name in before if name not in workspace.archived()]
    assert len(gone) == 5 and erased == 3 + 5 + 2
    assert workspace.collected() == {"cat/new.jpg": jpeg(40)}
    assert erasing.erase(storage) == 0


def test_images_of_datasets_for_automl_are_erased(tmp_path):
    storage = Folder(str(tmp_path))
    for name, data in photographs(range(4)).items():
        storage.write(f"collected/{name}", data)
    spans.prepare(storage)
    automl_dataset.export(spans.published(storage), Folder(str(tmp_path / automl_dataset.FOLDER)))
    correcting.withdraw(storage, ["cat/0.jpg"], "asked for", erase=True)

    erasing.erase(storage)

    held = [storage.read(entry.name) for entry in storage.list(automl_dataset.FOLDER)]
    assert jpeg(0) not in held and jpeg(2) in held


def test_what_was_erased_is_refused_when_it_comes_again_and_not_kept(storage, workspace, withdrawn):
    erasing.erase(storage)
    workspace.collect({"cat/again.jpg": jpeg(0)})

    prepared = spans.prepare(storage)

    assert [(bad.name, bad.reason) for bad in prepared.rejected] == [
        ("cat/again.jpg", "withdrawn from span 1: asked for")
    ]
    assert (prepared.span, prepared.images) == (2, 1)
    assert not [name for name, data in workspace.files().items() if jpeg(0) in data]


def test_what_was_erased_is_not_collected_again(storage, workspace, withdrawn, tmp_path):
    erasing.erase(storage)
    put(tmp_path, {"mine/cat/again.jpg": jpeg(0), "mine/dog/other.jpg": jpeg(3), "mine/cat/new.jpg": jpeg(41)})

    added = collected.add(storage, str(tmp_path / "mine"))

    assert [bad.name for bad in added.rejected] == ["cat/again.jpg", "dog/other.jpg"]
    assert (added.images, added.duplicates, added.conflicts) == (1, 0, ())
    assert not [name for name, data in workspace.files().items() if data in (jpeg(0), jpeg(3))]


def test_clearing_erases_what_was_erased_before(storage, workspace, withdrawn):
    erasing.erase(storage)
    workspace.collect({"cat/again.jpg": jpeg(0), "cat/other.jpg": jpeg(3)})

    cleared = spans.clear_collected(storage)

    assert [(bad.name, bad.reason) for bad in cleared.rejected] == [
        (name, "withdrawn from span 1: asked for") for name in ("cat/again.jpg", "cat/other.jpg")
    ]
    assert (cleared.archived, cleared.conflicts) == (0, ())
    assert not [name for name, data in workspace.files().items() if data in (jpeg(0), jpeg(3))]


@in_a_folder
def test_killed_at_each_step_the_next_call_completes_it(storage, workspace, withdrawn):
    with killed_at_each_step(workspace, "from pipeline.data import erasing", "erasing.erase") as killed:
        assert len(killed) > 60
        for found in killed:
            (span,) = spans.published(Folder(found.address))
            assert span.images == 27 == len(list(span.examples("train"))) + len(list(span.examples("eval")))
            erasing.erase(Folder(found.address))
            assert_erased(found)


def test_a_copy_that_waits_for_a_label_is_gone_with_what_models_said_of_it(storage, workspace, withdrawn):
    digest = sha256(jpeg(0))
    other = {f"unlabelled/{sha256(jpeg(50))}.jpg": jpeg(50), f"unlabelled/{sha256(jpeg(50))}.json": b"{}"}
    workspace.put({f"unlabelled/{digest}.jpg": jpeg(0), f"unlabelled/{digest}.json": b"{}"} | other)

    erasing.erase(storage)

    assert {f"unlabelled/{name}": data for name, data in workspace.files("unlabelled").items()} == other


def test_the_original_of_an_image_that_was_converted_is_gone_too(storage, workspace, tmp_path):
    original = encoded(noise(1, "P", (16, 16)), "GIF")
    put(tmp_path, {"mine/cat/1.gif": original})
    spans.import_folder(storage, str(tmp_path / "mine"))  # refused, and kept in rejected/
    spans.import_folder(storage, str(tmp_path / "mine"), convert=True)
    correcting.withdraw(storage, [sha256(original)], "asked for", erase=True)

    assert erasing.erase(storage) == 2

    assert not [name for name, data in workspace.files().items() if original in data or b"IDAT" in data]
    again = spans.import_folder(storage, str(tmp_path / "mine"), convert=True)
    assert [bad.reason for bad in again.rejected] == ["withdrawn from span 1: asked for"]
    assert not [name for name, data in workspace.files().items() if original in data or b"IDAT" in data]
