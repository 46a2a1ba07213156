"""Ctrl-C and SIGTERM at many moments: while Python imports, in a node of TFX, while images are read."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ci.stop import GRACE, LINE
from pipeline.data import digits
from tests.ci.conftest import ROOT, environment

SIGNALS = [signal.SIGINT, signal.SIGTERM]
SECONDS = 15  # that a stop may take: GRACE, and what a busy machine adds
SLEEPS = "import sys, time\nprint('started', file=sys.stderr, flush=True)\n"


class Stopped:
    """A command that got a signal: how it ended, what it said on stderr, and what it left in the temporary folder."""

    def __init__(self, process: subprocess.Popen, number: signal.Signals, temporary: pathlib.Path):
        process.send_signal(number)
        began = time.monotonic()
        self.out, self.err = process.communicate(timeout=30)
        self.seconds = time.monotonic() - began
        self.code = process.returncode
        self.left = os.listdir(temporary)


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """A shell that starts the tests in the background has them, and so their children, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def start(tmp_path):
    """Starts `python -m ci ARGUMENTS` with a folder for temporary files of its own, `tmp_path`/temporary."""
    (tmp_path / "temporary").mkdir()

    def run(*arguments: object, cwd: pathlib.Path = ROOT, **variables: str) -> subprocess.Popen:
        own = {"TMPDIR": str(tmp_path / "temporary"), "WORKSPACE": str(tmp_path / "workspace")}
        return subprocess.Popen(
            [sys.executable, "-m", "ci", *map(str, arguments)],
            cwd=cwd,
            env=environment(**own | variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def wait_until_it_answers(process: subprocess.Popen) -> None:
    """Waits until a command has taken over the signals, which takes long where much else runs."""
    mask = 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        if int(re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[1], 16) & mask:
            return
        time.sleep(0.01)


@pytest.fixture
def temporary(tmp_path) -> pathlib.Path:
    return tmp_path / "temporary"


def check(stopped: Stopped, number: signal.Signals) -> None:
    assert stopped.code == 128 + number, stopped.err
    assert stopped.err.splitlines()[-1] == LINE and stopped.err.count(LINE) == 1
    assert "Traceback" not in stopped.err and "Exception" not in stopped.err
    assert stopped.out == "" and stopped.left == [] and stopped.seconds < SECONDS


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_with_one_line(house, start, temporary, number):
    house.add("look", "Looks.", f"{SLEEPS}import tempfile\nwith tempfile.TemporaryDirectory():\n    time.sleep(30)")
    process = start("look", cwd=house.root)
    assert process.stderr.readline() == "started\n"

    stopped = Stopped(process, number, temporary)

    check(stopped, number)
    assert stopped.err == f"{LINE}\n"


SWALLOWS = "try:\n    time.sleep(30)\nexcept BaseException:\n    time.sleep(30)"
CONVERTS = "try:\n    time.sleep(30)\nexcept BaseException:\n    raise ImportError('failed to load a library')"
IN_A_FINALIZER = (
    "class Slow:\n    def __del__(self):\n        time.sleep(30)\n\nslow = Slow()\ndel slow\ntime.sleep(30)"
)


@pytest.mark.parametrize("body", [SWALLOWS, CONVERTS, IN_A_FINALIZER])
def test_a_library_that_mistreats_the_interrupt_changes_nothing(house, start, temporary, body):
    house.add("look", "Looks.", SLEEPS + body)
    process = start("look", cwd=house.root)
    process.stderr.readline()

    stopped = Stopped(process, signal.SIGINT, temporary)

    check(stopped, signal.SIGINT)
    assert stopped.err == f"{LINE}\n"


FORKS = """
import os, signal
reader, writer = os.pipe()
child = os.fork()
if not child:
    os.write(writer, b"started")
    time.sleep(30)
    os._exit(1)
os.read(reader, 7)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""


def test_a_fork_that_is_ended_does_not_stop_its_parent(house, start):
    house.add("look", "Looks.", f"{SLEEPS}{FORKS}time.sleep({GRACE + 1})\nreturn Outcome('Done.')")
    process = start("look", cwd=house.root)

    assert process.communicate(timeout=30) == ("Done.\n", "started\n") and process.returncode == 0


def test_a_signal_that_the_caller_ignores_stays_ignored(house, start):
    house.add("look", "Looks.", f"{SLEEPS}time.sleep(0.5)\nreturn Outcome('Done.')")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start("look", cwd=house.root)
    finally:
        signal.signal(signal.SIGINT, before)
    process.stderr.readline()
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=30)[0] == "Done.\n" and process.returncode == 0


def test_the_temporary_folder_is_gone_at_a_normal_end_too(house, start, temporary):
    house.add("look", "Looks.", "import tempfile\nreturn Outcome(tempfile.mkdtemp())")
    process = start("look", cwd=house.root)

    out, _ = process.communicate(timeout=30)

    assert out.startswith(str(temporary)) and os.listdir(temporary) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_from_its_first_moment_on_a_command_has_no_traceback(start, temporary, number):
    """Until the interpreter has started, which takes some hundredths of a second, it is Python that answers."""
    ended = set()
    for moment in range(300):
        if moment >= 25 and 128 + number in ended:
            break
        process = start("config")
        time.sleep(moment * 0.01)
        stopped = Stopped(process, number, temporary)
        ended.add(stopped.code)
        assert f"{os.sep}ci{os.sep}" not in stopped.err and stopped.left == []
        assert stopped.code in (0, -number, 128 + number) or "Traceback" in stopped.err
    assert 128 + number in ended


@pytest.fixture
def spans(tmp_path, trained_workspace) -> pathlib.Path:
    """A workspace that has a span and no training yet."""
    shutil.copytree(trained_workspace / "spans", tmp_path / "workspace" / "spans")
    return tmp_path / "workspace"


@pytest.mark.parametrize(
    "number, line, later",
    [
        (signal.SIGINT, "full log", 1),  # TensorFlow and TFX are being imported
        (signal.SIGTERM, "AnomalyGate", 1),  # Transform runs, in Beam's threads
    ],
)
def test_a_training_stops_while_it_imports_and_in_its_nodes(start, spans, temporary, number, line, later):
    process = start("train")
    said = ""
    while line not in said:
        said = process.stderr.readline()
        assert said, "the training has ended"
    time.sleep(later)

    check(Stopped(process, number, temporary), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_import_that_was_stopped_goes_on(ci, start, temporary, tmp_path, workspace, number):
    for moment in (0.2, 0.35, 0.55):
        process = start("import-images", "--demo")
        wait_until_it_answers(process)
        time.sleep(moment)
        stopped = Stopped(process, number, temporary)
        if stopped.code:  # it was not done before
            check(stopped, number)

    done = ci("import-images", "--demo", "--json")

    assert done.code == 0
    assert sum(done.json[key] for key in ("imported", "duplicates")) == digits.COUNTS[digits.FIRST]


def test_an_evaluation_stops(start, temporary, tmp_path, trained_workspace, collect):
    shutil.copytree(trained_workspace, tmp_path / "workspace")
    collect(20)
    for moment in (0.4, 2.4, 4.9):
        process = start("evaluate")
        wait_until_it_answers(process)
        time.sleep(moment)
        stopped = Stopped(process, signal.SIGINT, temporary)
        if stopped.code:  # it was not done before
            check(stopped, signal.SIGINT)


def test_a_story_that_is_stopped_says_so_once(start, temporary, tmp_path):
    process = start("demo", "--folder", tmp_path / "story")
    while "import-images" not in process.stderr.readline():
        continue
    time.sleep(1)
    group = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in group:  # a terminal sends Ctrl-C to all of them
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGINT)

    check(Stopped(process, signal.SIGINT, temporary), signal.SIGINT)
