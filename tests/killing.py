"""Kills something at each of its steps in turn."""

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
