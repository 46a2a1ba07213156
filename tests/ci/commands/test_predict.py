"""`predict` installs a device model, asks a server, and shows who answered and what it cost."""

import shutil

import pytest

from pipeline.releases.factory import open_releases
from tests.apps.client import faulty
from tests.apps.client.conftest import Published, described, published, server
from tests.clone import ROOT, Clone
from tests.conftest import put
from tests.devices import Key
from tests.documentation import commands, paste
from tests.pipeline.conftest import plain

__all__ = ["described", "published", "server"]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    put(folder, {"1 bright.png": plain(250), "2 unsure.png": plain(130), "more/3 dark.png": plain(10)})
    put(folder, {"notes.txt": b"no picture"})
    return folder


@pytest.fixture
def predict(ci, published: Published, tmp_path, pictures):
    """Function that runs `predict` with the channel, on all pictures."""
    key = tmp_path / "public.pem"
    key.write_text(published.key.public)
    channel = ("--channel", published.root, "--public-key", key, "--app-folder", tmp_path / "installed")
    return lambda *options: ci("predict", pictures, *channel, *options)


def test_the_device_answers_what_it_is_sure_of_and_the_server_the_rest(predict, server):
    server.label = "dark"

    done = predict("--server", server.url, "--json")

    found = done.json
    assert (done.code, found["images"], found["calls"], found["calls_saved"]) == (0, 3, 1, 2)
    assert [(of["label"], of["by"]) for of in found["predictions"]] == [
        ("bright", "device"),
        ("dark", "cloud"),
        ("dark", "device"),
    ]
    assert found["bytes_sent"] > len(plain(130)) and found["update"] == {"tag": "model-1", "changed": True, "kept": ""}
    assert (found["device_model"], found["threshold"]) == ("model-1", 0.8) and server.pictures == [plain(130)]
    assert "3 images: the device 2 (66.7" in done.err and "1 call of the cloud" in done.err


def test_without_a_network_the_device_answers_everything_and_says_so(predict, server, published):
    predict("--on", "device")
    server.stop()
    for path in published.root.rglob("*.json"):
        path.unlink()

    done = predict("--server", server.url, "--budget", "0.5")

    assert done.code == 0 and "3 images: the device 3 (100.0" in done.out
    assert (
        "The cloud did not answer for 1 image; the first time: " in done.out and "Kept model-1: there is no" in done.out
    )
    assert "2 unsure.png" in done.out and "notes.txt" not in done.out


def test_a_cloud_that_does_not_answer_leaves_images_without_one(predict, server):
    server.fault = faulty.answers(500, "broken")

    done = predict("--on", "cloud", "--server", server.url, "--budget", "0.3")

    assert done.code == 1 and "no answer" in done.out and "the server answers 500: broken" in done.out


def test_hard_cases_are_kept_where_it_is_asked_for(predict, tmp_path):
    done = predict("--on", "device", "--keep", tmp_path / "unlabelled")

    assert "1 hard case kept" in done.out
    assert [path.read_bytes() for path in (tmp_path / "unlabelled").glob("*.png")] == [plain(130)]


def test_without_channel_and_server_the_newest_release_answers(ci, pictures, pair_of_hand, tmp_path):
    pair_of_hand(open_releases(str(tmp_path / "workspace" / "releases")))

    found = ci("predict", pictures, "--json").json

    assert [(of["label"], of["by"]) for of in found["predictions"]] == [
        ("bright", "device"),
        ("bright", "cloud"),
        ("dark", "device"),
    ]
    assert found["cloud_models"] == ["model-1"] and found["update"] is None and found["bytes_sent"] == 0


def test_the_command_of_the_page_runs(published, server, tmp_path):
    clone = Clone(tmp_path / "clone")
    (clone.folder / ".venv").symlink_to(ROOT / ".venv")
    put(clone.folder, {"device-public-key.pem": published.key.public.encode(), "photographs/1.png": plain(250)})
    shutil.copytree(published.root, clone.folder / "channel")
    (command,) = commands("docs/devices.md#use-both-from-python")

    printed = paste(command.replace("http://127.0.0.1:8080", server.url), clone.folder)

    assert "1 image: the device 1 (100.0" in printed


@pytest.mark.parametrize(
    "options, why",
    [
        (("--on", "layered"), "--question"),
        (("--question", "dark"), "--on layered"),
        (("--on", "layered", "--question", "cat"), "has no label cat, but dark and bright"),
    ],
)
def test_a_question_belongs_to_layers_and_is_about_labels(predict, options, why):
    done = predict(*options)

    assert done.code == 2 and why in done.err


def test_a_channel_needs_a_public_key_and_a_model_that_it_signed(ci, published, pictures, tmp_path):
    unsigned = ci("predict", pictures, "--on", "device", "--channel", published.root)
    assert unsigned.code == 2 and "--public-key" in unsigned.err
    other = tmp_path / "other.pem"
    other.write_text(Key(tmp_path / "other-private.pem").public)

    key = ("--public-key", other, "--app-folder", tmp_path / "installed")
    refused = ci("predict", pictures, "--on", "device", "--channel", published.root, *key)

    assert refused.code == 1 and "another key" in refused.err
