"""The pieces of the demo on devices; `make demo-devices` runs the demo itself, which takes minutes."""

import os
import stat
import subprocess
import sys

import pytest

from ci.commands import demo_devices
from ci.commands.demo import Runner, StoryBroken
from ci.commands.demo_devices import App, Demo, act_of, make_key, predicted
from pipeline.serving.device_signing import Signer
from tests.ci.conftest import ROOT, environment
from tests.conftest import put

FOUND = {
    "on": "escalate",
    "images": 2,
    "by_device": 1,
    "by_cloud": 1,
    "calls": 1,
    "bytes_sent": 1200,
    "device_model": "model-1",
    "cloud_models": ["model-1"],
    "median_seconds": {"device": 0.0003, "cloud": 0.02},
    "update": {"tag": "model-1", "changed": True, "kept": ""},
}


@pytest.fixture
def found(tmp_path) -> dict:
    """The JSON of `predict` on two pictures, of which the cloud corrected one."""
    put(tmp_path, {"3/1.png": b"one", "7/2.png": b"two"})
    sure = {"label": "3", "confidence": 0.9, "model": "model-1"}
    predictions = [
        {"file": str(tmp_path / "3" / "1.png"), "label": "3", "device": sure, "cloud": None},
        {"file": str(tmp_path / "7" / "2.png"), "label": "7", "device": sure, "cloud": sure | {"label": "7"}},
    ]
    return FOUND | {"predictions": predictions}


def test_an_act_is_what_the_app_answered_and_where_asking_helped(found):
    act = act_of("Online", "first camera", found)

    assert (act.right.correct, act.right.images, act.by_cloud, act.sent) == (2, 2, 1, 1200)
    assert [(of.image, of.device, of.cloud) for of in act.questions] == [(b"two", "3", "7")]
    assert predicted(found).startswith("Installed model-1. Of 2 pictures, the device 1 and the cloud 1 answered: 100.0")


def test_the_key_of_the_demo_signs_and_only_its_owner_reads_it(tmp_path):
    private, public = str(tmp_path / "private.pem"), str(tmp_path / "public.pem")
    make_key(private, public)

    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    assert Signer(private).public_pem == (tmp_path / "public.pem").read_text()


def test_a_server_that_ends_stops_the_demo(tmp_path):
    with App(Runner(str(tmp_path)), str(tmp_path)) as app:
        with pytest.raises(StoryBroken, match="serve.log"):
            app.start("nothing is released")

    assert "No model was released" in (tmp_path / "serve.log").read_text()


def test_the_demo_goes_on_without_node(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_devices, "WEB", str(tmp_path / "web"))
    put(tmp_path, {"web/package.json": b"{}"})
    monkeypatch.setenv("PATH", "")

    assert not Demo(str(tmp_path)).web_page()

    assert "needs Node.js 20" in capsys.readouterr().err


def test_the_page_opens_in_the_browser_of_the_environment_and_the_story_goes_on(tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\nsleep 5\n')
    browser.chmod(0o755)
    program = f"""
from ci.commands.demo_devices import open_page
import os, time
open_page("http://127.0.0.1:8080")
while not os.path.exists({str(opened)!r}):
    time.sleep(0.05)
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(BROWSER=str(browser)), timeout=50, check=True
    )

    assert opened.read_text() == "http://127.0.0.1:8080\n"


@pytest.mark.parametrize(
    "variables, found", [({}, False), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "wayland-0"}, True)]
)
def test_a_page_opens_by_itself_only_on_a_desktop(monkeypatch, variables, found):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert demo_devices.has_desktop() is found


def test_new_pictures_of_both_cameras_are_kept_from_training(tmp_path):
    demo = Demo(str(tmp_path))

    counts = [sum(len(files) for _, _, files in os.walk(folder)) for folder in demo.pictures.values()]
    assert counts == [200, 200]


def test_a_folder_that_the_demo_did_not_make_is_kept(ci, tmp_path):
    put(tmp_path, {"photographs/1.jpg": b"mine"})

    done = ci("demo-devices", "--folder", tmp_path / "photographs")

    assert done.code == 2 and "--folder" in done.err and (tmp_path / "photographs" / "1.jpg").read_bytes() == b"mine"
