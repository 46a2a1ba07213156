"""What the demo does before and around its story; the story itself takes minutes and is told by `make demo`."""

import pytest

from ci.commands.demo import StoryBroken, Teller


def test_a_folder_that_no_demo_made_stays(ci, tmp_path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "1.jpg").write_bytes(b"mine")

    done = ci("demo", "--folder", tmp_path / "photographs")

    assert done.code == 2 and "photographs" in done.err and "--folder" in done.err
    assert (tmp_path / "photographs" / "1.jpg").read_bytes() == b"mine"


def test_a_step_is_remembered_as_it_was_typed_with_what_came_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEASES", "/nowhere")
    teller = Teller(str(tmp_path))
    teller.chapter("How many?")

    teller.run("count-collected", "--threshold", "3", said=lambda f: f"{f['counted']} of 3", as_told=lambda f: True)

    (step,) = teller.steps
    assert (step.chapter, step.command, step.said) == (
        "How many?",
        "python -m ci count-collected --threshold 3",
        "0 of 3",
    )
    assert 0 < step.seconds <= teller.seconds


def test_the_story_ends_with_a_clear_message_where_a_step_turns_out_differently(tmp_path):
    with pytest.raises(
        StoryBroken, match="`python -m ci count-collected --threshold 3` turned out differently. 0 of 3"
    ):
        Teller(str(tmp_path)).run(
            "count-collected", "--threshold", "3", said=lambda f: f"{f['counted']} of 3", as_told=lambda f: f["enough"]
        )


def test_the_story_ends_where_a_step_fails(tmp_path, capfd):
    with pytest.raises(StoryBroken, match="`python -m ci evaluate` failed"):
        Teller(str(tmp_path)).run("evaluate", said=str, as_told=bool)

    assert "No model was released" in capfd.readouterr().err


def test_settings_of_the_user_do_not_reach_the_story(tmp_path, monkeypatch):
    for variable, value in {"ACCURACY_THRESHOLD": "broken", "RELEASES": "/nowhere", "WORKSPACE": "/nowhere"}.items():
        monkeypatch.setenv(variable, value)
    found = []

    Teller(str(tmp_path)).run("config", said=str, as_told=lambda told: found.append(told) or True)

    told = {setting["variable"]: setting["value"] for setting in found[0]["settings"]}
    assert told["WORKSPACE"] == str(tmp_path) and told["ACCURACY_THRESHOLD"] == "0.8"
