"""A workspace of a command's own, made afresh, and an environment in which other commands see nothing else."""

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping

from ci.stop import PART_OF
from pipeline.config import Config
from pipeline.errors import UsageError


def marker(maker: str) -> str:
    """Returns the name of the file that says who made a folder."""
    return f".made-by-the-{maker}"


@contextlib.contextmanager
def afresh(folder: str, maker: str, keep: Collection[str] = ()) -> Iterator[None]:
    """Makes a folder that is empty but for what is called as in `keep`, and keeps a second `maker` out of it.

    All that it removes, an earlier one made.
    """
    ours = marker(maker)
    free = not os.path.lexists(folder) or (os.path.isdir(folder) and set(os.listdir(folder)) <= set(keep))
    if os.path.islink(folder) or not (free or os.path.isfile(os.path.join(folder, ours))):
        raise UsageError(f"{folder} is there and no {maker} made it, so it stays: name another folder with --folder.")
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
    """Returns an environment without settings and secrets of ours, but with `variables`.

    What a command puts out for a workflow, or says when it is stopped, its own caller puts out.
    """
    left_out = {field.metadata["variable"] for field in dataclasses.fields(Config)}
    left_out |= {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}
    return {name: value for name, value in environ.items() if name not in left_out} | variables | {PART_OF: "1"}
