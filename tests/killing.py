"""Processes to be killed: at each of their steps in turn, or whenever a test wants."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.conftest import Workspace

# A step is an event of Python's audit hooks: opening, listing, linking, renaming and removing files and folders, and
# locking.
PROGRAM = """
import os, shutil, sys
from pipeline.storage.factory import open_storage
{prepare}

template, workspaces = sys.argv[1:]
for last in range(10_000):
    workspace = f"{{workspaces}}/{{last}}"
    shutil.copytree(template, workspace)
    if not (child := os.fork()):
        left = iter(range(last))
        sys.addaudithook(lambda what, _: what != "os.kill" and next(left, None) is None and os.kill(os.getpid(), 9))
        {work}(open_storage(workspace))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -9:
        sys.exit(code)
"""


# Forks a child for each address that it reads, and reaps it when asked to: until then no other process has its ID.
CHILDREN = """
import os, sys
from pipeline.storage.factory import open_storage
{prepare}

for address in iter(sys.stdin.readline, ""):
    begin, go = os.pipe()
    if not (child := os.fork()):
        os.read(begin, 1)
        {work}(open_storage(address.strip()))
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    os.write(go, b".")
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os.close(begin)
    os.close(go)
"""


class Children:
    """Calls `work` with storages, each call in a process of its own: a fork of one that has imported everything.

    `prepare` and `work` are as for `killed_at_each_step`.
    """

    def __init__(self, prepare: str, work: str):
        command = [sys.executable, "-c", CHILDREN.format(prepare=prepare, work=work)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def start(self, address: object) -> int:
        """Starts a process that waits for `go`; returns its ID."""
        self._process.stdin.write(f"{address}\n")
        return int(self._process.stdout.readline())

    def go(self) -> None:
        self._process.stdin.write("go\n")

    def end(self) -> int:
        """Waits for the end of the process; returns its exit code."""
        self._process.stdin.write("end\n")
        return int(self._process.stdout.readline())

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def killed_at_each_step(workspace: Workspace, prepare: str, work: str) -> Iterator[list[Workspace]]:
    """Calls `work` with copies of a workspace, each killed one step later, until it completes; yields the copies.

    `prepare` is Python that runs once beforehand, and imports what `work` names.
    """
    # In memory where there is enough: each of hundreds waits for its disk a dozen times.
    roomy = os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 1 << 30  # containers have 64 MB
    memory = "/dev/shm" if roomy else None
    with tempfile.TemporaryDirectory(prefix="killed-", dir=memory) as place:
        program = PROGRAM.format(prepare=prepare, work=work)
        done = subprocess.run([sys.executable, "-c", program, workspace.root, place], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        yield [Workspace(path) for path in pathlib.Path(place).iterdir()]
