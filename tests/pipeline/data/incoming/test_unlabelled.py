"""Pictures that clients found hard: named by their content, checked as an import checks them, never overwritten."""

import json

import pytest

from pipeline.data.images import BadImage
from pipeline.data.incoming import unlabelled
from pipeline.data.incoming.unlabelled import BadNote, Kept
from pipeline.storage.factory import open_storage
from tests.conftest import jpeg
from tests.pipeline.conftest import plain
from tests.places import kind, storage, workspace

__all__ = ["kind", "storage", "workspace"]

NOTE = {
    "why": ["low confidence"],
    "device": {"label": "cat", "confidence": 0.5, "model": "model-1"},
    "cloud": None,
    "kept": "2026-11-27T12:00:00Z",
}


def test_a_picture_and_its_note_are_kept_once(storage, workspace):
    name = unlabelled.name_of(jpeg(1))
    digest = name.removesuffix(".jpg")

    assert unlabelled.kept(storage) == Kept() and not unlabelled.is_kept(storage, name)
    assert unlabelled.add(storage, jpeg(1)) and not unlabelled.add(storage, jpeg(1))
    assert unlabelled.add_note(storage, digest, json.dumps(NOTE | {"html": "<b>"}).encode())
    assert not unlabelled.add_note(storage, digest, json.dumps(NOTE | {"why": ["disagreement"]}).encode())

    files = workspace.files("unlabelled")
    assert set(files) == {name, f"{digest}.json"} and files[name] == jpeg(1)
    assert json.loads(files[f"{digest}.json"]) == NOTE
    assert unlabelled.kept(storage) == Kept(1, sum(map(len, files.values()))) and unlabelled.is_kept(storage, name)
    assert unlabelled.name_of(plain(9)).endswith(".png")


@pytest.mark.parametrize("data", [b"", b"GIF89a", jpeg(1)[:-20], plain(9)[:40], b"<svg onload=alert(1)>"])
def test_what_training_could_not_use_is_refused(storage, workspace, data):
    with pytest.raises(BadImage):
        unlabelled.add(storage, data)
    assert workspace.files("unlabelled") == {}


@pytest.mark.parametrize(
    "note, why",
    [
        (b"", "cannot be read"),
        (b"[" * 9_000, "cannot be read"),
        (b" " * 20_000, "bytes"),
        (b"[]", "cannot be read"),
        (NOTE | {"why": ["because"]}, "why"),
        (NOTE | {"why": [[]]}, "cannot be read"),
        (NOTE | {"kept": 1}, "texts"),
        (NOTE | {"cloud": {"label": "x" * 300, "confidence": 1, "model": ""}}, "200 characters"),
        (NOTE | {"cloud": {"label": "cat", "confidence": float("nan"), "model": ""}}, "from 0 to 1"),
        (NOTE | {"device": "cat"}, "cannot be read"),
    ],
)
def test_a_note_of_another_form_is_refused(tmp_path, note, why):
    data = note if isinstance(note, bytes) else json.dumps(note).encode()
    with pytest.raises(BadNote, match=why):
        unlabelled.add_note(open_storage(str(tmp_path)), "0" * 64, data)
    assert not list(tmp_path.iterdir())
