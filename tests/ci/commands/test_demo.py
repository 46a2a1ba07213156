"""The demo's folder, runner and errors; `make demo` runs the demo itself, which takes minutes."""

import pytest

from ci.commands.demo import Runner, StoryBroken


def test_a_folder_that_the_demo_did_not_make_is_kept(ci, tmp_path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "1.jpg").write_bytes(b"mine")

    done = ci("demo", "--folder", tmp_path / "photographs")

    assert done.code == 2 and "photographs" in done.err and "--folder" in done.err
    assert (tmp_path / "photographs" / "1.jpg").read_bytes() == b"mine"


def test_a_step_is_recorded_as_typed_with_its_result(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEASES", "/nowhere")
    runner = Runner(str(tmp_path))
    runner.chapter("How many?")

    runner.run("count-collected", "--threshold", "3", said=lambda f: f"{f['counted']} of 3", expected=lambda f: True)

    (step,) = runner.steps
    assert (step.chapter, step.command, step.said) == (
        "How many?",
        "python -m ci count-collected --threshold 3",
        "0 of 3",
    )
    assert 0 < step.seconds <= runner.seconds


def test_the_demo_stops_with_a_message_at_an_unexpected_result(tmp_path):
    with pytest.raises(
        StoryBroken, match="`python -m ci count-collected --threshold 3` had an unexpected result. 0 of 3"
    ):
        Runner(str(tmp_path)).run(
            "count-collected", "--threshold", "3", said=lambda f: f"{f['counted']} of 3", expected=lambda f: f["enough"]
        )


def test_the_demo_stops_when_a_step_fails(tmp_path, capfd):
    with pytest.raises(StoryBroken, match="`python -m ci evaluate` failed"):
        Runner(str(tmp_path)).run("evaluate", said=str, expected=bool)

    assert "No model was released" in capfd.readouterr().err


def test_settings_of_the_user_do_not_affect_the_demo(tmp_path, monkeypatch):
    for variable, value in {"ACCURACY_THRESHOLD": "broken", "RELEASES": "/nowhere", "WORKSPACE": "/nowhere"}.items():
        monkeypatch.setenv(variable, value)
    found = []

    Runner(str(tmp_path)).run("config", said=str, expected=lambda fields: found.append(fields) or True)

    settings = {setting["variable"]: setting["value"] for setting in found[0]["settings"]}
    assert settings["WORKSPACE"] == str(tmp_path) and settings["ACCURACY_THRESHOLD"] == "0.8"
