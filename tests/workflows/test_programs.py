import pytest

from tests.containers import CannotRun
from tests.workflows import programs


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A machine without installed programs; returns the folder on its PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def go(folder, script: str) -> None:
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_go_the_error_names_what_to_install(fresh):
    with pytest.raises(CannotRun, match="Go is not on the PATH.*: install Go 1.25 or newer"):
        programs.installed("act")


def test_a_program_is_built_once(fresh, tmp_path, capfd):
    go(fresh, '/bin/mkdir -p "$GOBIN"; : > "$GOBIN/act"')
    found = programs.installed("act")
    assert found.exists() and programs.installed("act") == found
    assert capfd.readouterr().err.count("Installing github.com/nektos/act@v0.2.87") == 1
    assert [path.name for path in found.parent.parent.iterdir() if path.is_dir()] == ["act-v0.2.87"]


def test_when_go_fails_the_error_has_its_last_line_and_no_files_are_left(fresh, tmp_path):
    go(fresh, '/bin/mkdir -p "$GOBIN"; : > "$GOBIN/half"; echo "go: no network" >&2; exit 1')
    with pytest.raises(CannotRun, match="failed: go: no network. Check the network"):
        programs.installed("actionlint")
    assert not list((tmp_path / "cache/spanloop/go").iterdir())
