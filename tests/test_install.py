"""Set-up started as a user does, in a small separate project, and once with this project's light part."""

import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

import install

ROOT = pathlib.Path(install.__file__).resolve().parent
UV = pathlib.Path(sys.executable).parent / "uv"
ELSEWHERE = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"))  # searched in addition to PATH
PROJECT = """
[project]
name = "small"
version = "0"
requires-python = ">=3.10"
[dependency-groups]
dev = ["uv"]
[tool.uv]
package = false
default-groups = []
"""
LOCK = """
version = 1
revision = 3
requires-python = ">=3.10"

[[package]]
name = "small"
version = "0"
source = { virtual = "." }

[package.dev-dependencies]
dev = [{ name = "uv" }]

[package.metadata]
[package.metadata.requires-dev]
dev = [{ name = "uv" }]

"""


class Done(NamedTuple):
    code: int
    stderr: str


class Clone:
    """A folder with install.py and its input files; programs that a test writes come first on its PATH."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.programs = folder.parent / "programs"
        self.path = [str(self.programs), str(UV.parent), *os.environ["PATH"].split(os.pathsep)]
        self.programs.mkdir()
        self.folder.mkdir()
        shutil.copy(ROOT / "install.py", self.folder)

    def write(self, project: str, lock: str) -> None:
        (self.folder / "pyproject.toml").write_text(project)
        (self.folder / "uv.lock").write_text(lock)

    def program(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
        environment = kept | {"PATH": os.pathsep.join(self.path), "UV_OFFLINE": "1"} | variables
        command = [sys.executable, self.folder / "install.py", *arguments]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def install(self, *arguments: str, **variables: str) -> Done:
        process = self.start(*arguments, **variables)
        _, stderr = process.communicate(timeout=120)
        return Done(process.returncode, stderr)

    def python(self) -> str:
        """The version of Python in .venv: "3.10"."""
        command = [self.folder / ".venv/bin/python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path) -> Clone:
    made = Clone(tmp_path / "clone")
    blocks = (ROOT / "uv.lock").read_text().split("[[package]]\n")
    made.write(PROJECT, LOCK + "[[package]]\n" + next(block for block in blocks if block.startswith('name = "uv"\n')))
    return made


@pytest.mark.parametrize(
    "machine, tfx",
    [
        (("Linux", "x86_64", "glibc 2.41"), "1.21"),  # Debian 13
        (("Linux", "x86_64", "glibc 2.39"), "1.21"),  # Ubuntu 24.04
        (("Linux", "x86_64", "glibc 2.36"), "1.16"),  # Debian 12
        (("Linux", "x86_64", "glibc 2.28"), "1.16"),
        (("Linux", "x86_64", "glibc 3.0"), "1.21"),
        (("Darwin", "arm64", ""), "1.21"),
    ],
)
def test_the_platform_chooses_the_line_of_tfx(machine, tfx):
    assert install.choose_line(*machine).tfx == tfx


@pytest.mark.parametrize(
    "machine, message",
    [
        (("Linux", "x86_64", "glibc 2.27"), "glibc 2.27"),
        (("Linux", "x86_64", ""), "another C library"),  # Alpine
        (("Linux", "aarch64", "glibc 2.36"), "aarch64"),
        (("Darwin", "x86_64", ""), "Darwin"),
        (("Windows", "AMD64", ""), "Windows"),
    ],
)
def test_a_platform_that_tfx_does_not_run_on_is_named(machine, message):
    with pytest.raises(install.SetUpError, match=message):
        install.choose_line(*machine)


def test_set_up_leaves_a_python_of_the_line_and_shows_the_reason(clone):
    line = install.choose_line(*install.this_machine())
    done = clone.install()
    assert done.code == 0, done.stderr
    assert f"TFX {line.tfx}" in done.stderr and line.why in done.stderr
    assert clone.python() in line.pythons


def test_a_second_run_installs_nothing(clone):
    clone.install()
    for name in ("pyproject.toml", "uv.lock"):
        os.utime(clone.folder / name)  # as a fresh checkout would
    clone.program("uv", "echo uv was started >&2; exit 1")
    done = clone.install()
    assert done.code == 0 and "is ready" in done.stderr and "uv was started" not in done.stderr


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_a_changed_project_or_lock_is_installed(clone, name):
    clone.install()
    with open(clone.folder / name, "a") as file:
        file.write("# changed\n")
    done = clone.install()
    assert done.code == 0 and "Setting up" in done.stderr
    assert "is ready" in clone.install().stderr


def test_an_environment_whose_python_was_removed_is_recreated(clone):
    clone.install()
    python = clone.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert clone.install().code == 0
    assert clone.python()


def test_a_complete_environment_serves_as_the_light_one_but_not_the_reverse(clone):
    clone.install("--light")
    assert "Setting up" in clone.install().stderr
    assert "is ready" in clone.install("--light").stderr


def test_an_interrupted_set_up_is_repeated_from_the_start(clone):
    half = clone.folder / ".venv" / "half"
    clone.program("uv", f'case $1 in sync) mkdir -p "{half}"; kill -9 $PPID; exit 1;; esac; exec "{UV}" "$@"')
    assert clone.install().code == -9
    (clone.programs / "uv").unlink()
    done = clone.install()
    assert done.code == 0 and "was interrupted" in done.stderr
    assert clone.python() and not half.exists()


def test_programs_that_do_not_start_are_skipped(clone):
    for name in ("uv", "python3", "python3.10", "python3.11", "python3.12", "python3.13"):
        clone.program(name, "echo 'pyenv: command not found' >&2; exit 127")
    done = clone.install()
    assert done.code == 0, done.stderr
    assert clone.python()


def test_an_activated_environment_is_not_used_as_the_base(clone):
    clone.install()
    link = clone.folder / ".venv/bin/python"
    assert os.path.realpath(link) == os.path.realpath(sys.executable) and ".venv" not in os.readlink(link)


def test_two_processes_at_once_install_once(clone):
    both = [clone.start(), clone.start()]
    logs = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("Setting up" in text for text in logs) == [False, True]


@pytest.mark.skipif(shutil.which("uv", path=ELSEWHERE) is not None, reason="uv is installed for the whole machine")
def test_without_uv_and_pip_the_error_names_the_package_to_install(clone):
    clone.path = [folder for folder in clone.path if not pathlib.Path(folder, "uv").exists()]
    for module in ("pip", "venv"):  # as on Debian, where both are separate packages
        (clone.programs / f"{module}.py").write_text(f"raise ImportError('No module named {module}')")
    done = clone.install(PYTHONPATH=str(clone.programs))
    assert done.code == 1 and "apt-get install -y python3-pip" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_set_up_runs_on_python_3_8():
    ast.parse((ROOT / "install.py").read_text(), feature_version=(3, 8))


def test_the_light_part_is_small_and_counts(clone, tmp_path):
    clone.write((ROOT / "pyproject.toml").read_text(), (ROOT / "uv.lock").read_text())
    done = clone.install("--light")
    if "connectivity is disabled" in done.stderr:
        pytest.skip("uv's cache is empty, and tests do not use the network")
    assert done.code == 0, done.stderr
    installed = [path for path in (clone.folder / ".venv").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in installed) < 80e6
    command = [clone.folder / ".venv/bin/python", "-m", "ci", "count-collected", "--threshold", "1", "--json"]
    environment = os.environ | {"WORKSPACE": str(tmp_path / "workspace")}
    counted = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert counted.returncode == 0, counted.stderr
    assert json.loads(counted.stdout) == {"counted": 0, "enough": False}
