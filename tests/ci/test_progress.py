"""Long commands say how far they have come, in a way that fits who reads."""

import os
import pty
import select
import subprocess
import sys

import pytest

from tests.ci.conftest import environment

CLEARED = b"\x1b[1A\x1b[2K"  # up a line, and empty it
COUNT = """
import sys, time
from ci.progress import Count
with Count("Importing") as progress:
    for done in range(200, 1001, 200):
        progress(done)
        time.sleep(0.05)
return Outcome("Done.", display="rich" in sys.modules)
"""


@pytest.fixture
def counting(house):
    house.add("look", "Looks.", COUNT)
    return house


def test_on_a_terminal_a_count_moves_and_is_gone_at_the_end(counting):
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ci", "look"],
        cwd=counting.root,
        env=environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
    os.close(terminal)

    assert process.communicate(timeout=60)[0] == b"Done.\n" and process.returncode == 0
    assert b"Importing: 200 images" in shown and b"Importing: 1,000 images" in shown
    assert shown.endswith(CLEARED)


def test_elsewhere_short_work_says_nothing_and_needs_no_display(ci, counting):
    done = ci("look", "--json", cwd=counting.root)

    assert (done.json, done.err) == ({"display": False}, "Done.\n")


def test_elsewhere_long_work_says_a_line_now_and_then(ci, counting):
    program = counting.root / "ci" / "progress.py"
    clock = "next(CLOCK)"  # goes on by 5 seconds whenever it is looked at
    text = program.read_text().replace("time.monotonic()", clock)
    program.write_text(f"{text}\n\nCLOCK = iter(range(0, 1000, 5))\n")

    done = ci("look", "--json", cwd=counting.root)

    assert done.err == "Importing: 400 images so far\nImporting: 800 images so far\nDone.\n"
