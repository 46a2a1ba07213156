"""A new workspace that belongs to one command, and an environment that directs other commands to it."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping

from ci.stop import PART_OF
from pipeline.environment import TRAINING, allowed
from pipeline.errors import UsageError


def marker(maker: str) -> str:
    """Returns the name of the file that marks a folder as made by `maker`."""
    return f".made-by-the-{maker}"


@contextlib.contextmanager
def afresh(folder: str, maker: str, keep: Collection[str] = ()) -> Iterator[None]:
    """Empties or creates a folder, except for the names in `keep`, and locks it against a second `maker`.

    It removes only the content of folders that an earlier `maker` has made.
    """
    ours = marker(maker)
    free = not os.path.lexists(folder) or (os.path.isdir(folder) and set(os.listdir(folder)) <= set(keep))
    marked = os.path.isfile(os.path.join(folder, ours)) and not os.path.islink(os.path.join(folder, ours))
    if os.path.islink(folder) or not (free or marked):
        raise UsageError(f"{folder} exists and was not made by a {maker}: name another folder with --folder.")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ours), "a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"A {maker} is running in {folder}: wait for it, or name another with --folder.") from None
        for entry in os.scandir(folder):
            if entry.name in (ours, *keep):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            else:
                os.unlink(entry)
        yield


def environment(environ: Mapping[str, str], **variables: str) -> dict[str, str]:
    """Returns an environment with what a training needs of this process's, and with `variables`.

    It holds no settings, no credentials and no file by which a step of a workflow speaks to the next ones. The message
    of an interruption is left to this process.
    """
    return allowed(environ, TRAINING) | variables | {PART_OF: "1"}


@contextlib.contextmanager
def scrubbed() -> Iterator[None]:
    """Gives this process such an environment for a while, because code that it imports is not to see another one."""
    kept = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(allowed(kept, {*TRAINING, PART_OF}))
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
