"""Commands as people and workflows run them: in a process of their own."""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pipeline.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
OWN_VARIABLES = (*(setting.variable for setting in Config().settings({})), "GITHUB_", "PYTHONIOENCODING")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process without the project's settings, and with `variables`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)} | variables


@pytest.fixture
def ci(tmp_path) -> Callable[..., Done]:
    """Runs `python -m ci ARGUMENTS` with a new workspace; takes `cwd` and environment variables as keywords."""

    def run(*arguments: object, cwd: pathlib.Path = ROOT, **variables: str) -> Done:
        process = subprocess.run(
            [sys.executable, "-m", "ci", *map(str, arguments)],
            cwd=cwd,
            env=environment(**{"WORKSPACE": str(tmp_path / "workspace")} | variables),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=300,  # a training on a busy machine
        )
        return Done(process.returncode, process.stdout, process.stderr)

    return run


class House:
    """A copy of the commands that more can be added to."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        shutil.copytree(ROOT / "ci", root / "ci", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pipeline", "pyproject.toml"):
            (root / name).symlink_to(ROOT / name)

    def add(self, name: str, about: str, body: str) -> None:
        """Adds the command `name`; `body` is what its function does."""
        (self.root / "ci" / "commands" / f"{name}.py").write_text(
            f'"""A command of a test."""\n\nfrom ci.outcome import Outcome, command\n\n\n'
            f'@command\ndef {name}(config):\n    """{about}"""\n' + textwrap.indent(textwrap.dedent(body), "    ")
        )


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "house")


def picture(number: int) -> bytes:
    """A PNG of 16 pixels, another one for each number, and to the eye, too."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    drawn = hashlib.sha256(b"%d" % number).digest()
    rows = zlib.compress(b"".join(b"\0" + drawn[at : at + 4] for at in range(0, 16, 4)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def workspace(tmp_path) -> pathlib.Path:
    """The workspace of `ci`."""
    return tmp_path / "workspace"


@pytest.fixture
def collect(workspace) -> Callable[..., None]:
    """Puts images into `collected/`, in turn of a cat and of a dog."""

    def put(images: int, prefix: str = "") -> None:
        for number in range(images):
            folder = workspace / "collected" / ("dog" if number % 2 else "cat")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{prefix}{number}.png").write_bytes(picture(number))

    return put


@pytest.fixture
def small_disk(tmp_path) -> Iterator[pathlib.Path]:
    """A file system with room for one megabyte; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
