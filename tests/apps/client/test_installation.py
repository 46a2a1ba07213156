"""A client installs the model of its channel after every check of docs/devices.md, and else keeps what it has."""

import pytest

from apps.client.channel import open_channel
from apps.client.installation import Installation
from pipeline.serving.device_manifest import DocumentRefused
from tests.conftest import files_in
from tests.devices import Key
from tests.pipeline.conftest import plain


def test_the_model_of_the_channel_is_installed_and_runs(published):
    assert published.client.open() is None

    done = published.update()

    model = published.client.open()
    assert (done.tag, done.changed, done.kept) == ("model-1", True, "")
    assert model.answer(plain(250)).label == "bright" and (model.model, model.threshold) == ("model-1", 0.8)
    assert not published.update().changed


def test_a_newer_model_replaces_it(published):
    published.update()
    published.release("model-2")
    published.point("model-2", 2)

    assert published.update().changed and published.client.open().model == "model-2"
    assert not [name for name in files_in(published.root.parent / "app") if name.startswith("model-1")]


def altered(published):
    path = published.root / "devices" / "classification" / "model-2" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"dark"', b'"nice"'))


BROKEN = {
    "an altered manifest": (altered, "altered"),
    "a truncated model": (lambda p: p.put("model-2/model.tflite", p.data[:100]), "not the file"),
    "a longer model": (lambda p: p.put("model-2/model.tflite", p.data + b"0"), "more than"),
    "another model of that size": (lambda p: p.put("model-2/model.tflite", bytes(len(p.data))), "not the file"),
    "signed bytes that are no model": (lambda p: p.release("model-2", b"TFL3"), "cannot be used"),
    "labels of another model": (lambda p: p.release("model-2", labels=("a",)), "2 probabilities, for 1"),
    "another input": (lambda p: p.release("model-2", input={"shape": [1, 8, 8, 3]}), "cannot be used"),
    "an older pointer": (lambda p: p.point("model-2", 1), "older than 2"),
    "an expired pointer": (lambda p: p.point("model-2", 3, expires="2020-01-01T00:00:00Z"), "expired"),
    "the pointer of another channel": (lambda p: p.point("model-2", 3, channel="beta"), "channel beta"),
    "a pointer without a signature": (lambda p: p.put("channels/stable.json", b"{}"), "no signature"),
    "a pointer to what is not there": (lambda p: p.point("model-9", 3), "there is no"),
    "a model for newer apps": (lambda p: p.release("model-2", minimum_app_version="9.0.0"), "for apps from"),
    "no channel": (lambda p: (p.root / "devices/classification/channels/stable.json").unlink(), "there is no"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_check_that_fails_changes_nothing(published, broken):
    published.point("model-1", 2)
    published.update()
    before = files_in(published.root.parent / "app")
    published.release("model-2")
    published.point("model-2", 3)
    damage, why = BROKEN[broken]
    damage(published)

    done = published.update()

    assert (done.tag, done.changed) == ("model-1", False) and why in done.kept
    assert files_in(published.root.parent / "app") == before and published.client.open().model == "model-1"


def test_what_another_key_signed_is_refused(published, tmp_path):
    client = Installation(str(tmp_path / "other app"), [Key(tmp_path / "other.pem").public], "classification")

    done = client.update(open_channel(str(published.root)))

    assert done.tag is None and "another key" in done.kept and client.open() is None


def test_a_device_outside_of_a_rollout_keeps_what_it_has(published):
    published.update()
    published.release("model-2")
    published.point("model-2", 2, percent=0)

    assert published.update().tag == "model-1"

    published.point("model-2", 3, percent=0, previous="model-1")
    assert not published.update().changed
    published.point("model-2", 2, percent=100)  # replayed
    assert "older than 3" in published.update().kept


def test_files_that_were_damaged_on_the_device_are_installed_again(published):
    published.update()
    (published.root.parent / "app" / "model-1" / "model.tflite").write_bytes(b"damaged")
    with pytest.raises(DocumentRefused, match="not the file"):
        published.client.open()

    assert published.update().changed and published.client.open().model == "model-1"
