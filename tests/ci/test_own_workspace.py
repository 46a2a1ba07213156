"""Folders that a command makes afresh, and what it leaves alone."""

import fcntl
import os
import subprocess

import pytest

from ci.own_workspace import afresh, environment, marker, scrubbed
from ci.stop import PART_OF
from pipeline.errors import UsageError

MARKER = marker("demo")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_link_to_a_folder_of_a_demo_is_not_followed(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / MARKER).touch()
    (tmp_path / "empty").mkdir()
    for linked in ("demo", "empty"):
        (tmp_path / f"link-{linked}").symlink_to(tmp_path / linked)
        with pytest.raises(UsageError), afresh(str(tmp_path / f"link-{linked}"), "demo"):
            pass


def test_what_an_earlier_demo_left_is_removed_and_what_it_links_to_is_not(tmp_path):
    with afresh(str(tmp_path / "demo"), "demo"):
        (tmp_path / "demo" / "spans").mkdir()
        (tmp_path / "demo" / "spans" / "old").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.jpg").touch()
    (tmp_path / "demo" / "collected").symlink_to(tmp_path / "mine")

    with afresh(str(tmp_path / "demo"), "demo"):
        assert names(tmp_path / "demo") == {MARKER}

    assert (tmp_path / "mine" / "1.jpg").exists()


def test_what_shall_be_kept_is_kept_also_where_nothing_else_is(tmp_path):
    (tmp_path / "baseline").mkdir()  # as a cache brings it back
    (tmp_path / "baseline" / "model").touch()
    for _ in range(2):
        with afresh(str(tmp_path), "rehearsal", keep=["baseline"]):
            assert names(tmp_path) == {marker("rehearsal"), "baseline"}
            (tmp_path / "spans").mkdir()
    assert names(tmp_path / "baseline") == {"model"}


@pytest.mark.parametrize("there", ["baseline.jpg", MARKER])
def test_a_folder_of_another_maker_is_kept(tmp_path, there):
    (tmp_path / "baseline").mkdir()
    (tmp_path / there).touch()

    with pytest.raises(UsageError, match="was not made by a rehearsal"):
        with afresh(str(tmp_path), "rehearsal", keep=["baseline"]):
            pass

    assert names(tmp_path) == {"baseline", there}


def test_two_demos_do_not_share_a_folder(ci, tmp_path):
    with afresh(str(tmp_path / "demo"), "demo"), open(tmp_path / "demo" / MARKER) as held:
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)

        done = ci("demo", "--folder", tmp_path / "demo")

    assert done.code == 2 and "A demo is running" in done.err


FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE")
SECRETS = ("GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "AWS_SECRET_ACCESS_KEY")


def test_settings_secrets_and_a_workflow_s_files_do_not_reach_what_is_run():
    given = {"PATH": "/bin", "WORKSPACE": "gs://x", "HOME": "/h"} | dict.fromkeys([*FILES, *SECRETS], "a secret")
    kept = {"PATH": "/bin", "HOME": "/h", "WORKSPACE": "mine"}
    assert environment(given, WORKSPACE="mine") == kept | {PART_OF: "1"}


def test_code_in_this_process_sees_no_secrets_either_for_as_long_as_it_runs(monkeypatch):
    for name in (*FILES, *SECRETS, "WORKSPACE"):
        monkeypatch.setenv(name, "a secret")
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), scrubbed():
        printed = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
        assert "a secret" not in printed and "a secret" not in os.environ.values()
        assert os.environ["PATH"] == before["PATH"] and f"PATH={before['PATH']}" in printed
        raise ZeroDivisionError
    assert dict(os.environ) == before
