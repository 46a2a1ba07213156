"""What runs on this machine left: results of nodes, and logs."""

import contextlib
import os
import re
from collections.abc import Iterator

from pipeline.cleaning.item import Item, Search
from pipeline.orchestrators import local
from pipeline.orchestrators.definitions import RETRAINING, TRAINING
from pipeline.storage.folder import Folder

STORE = "metadata.sqlite"  # TFX makes it, so what lies beside it is TFX's


def results(search: Search) -> Iterator[Item]:
    """Yields the results of nodes that no recent run has made.

    TFX looks whether cached results are still there before it uses them, and else runs the node again.
    """
    place = Folder(local.folder_of_runs(search.config))
    for pipeline in (TRAINING, RETRAINING):
        root = local.pipeline_root(search.config, pipeline)
        if os.path.islink(root) or not os.path.isfile(f"{root}/{STORE}"):
            continue
        for name in _executions(root):
            try:
                size, modified = _look(f"{root}/{name}")
            except FileNotFoundError:  # another process has just deleted it
                continue
            if search.is_old(modified):
                whole = f"pipeline_root/{pipeline}/{name}"
                yield Item(
                    "result of a node",
                    place.address(whole),
                    search.age(modified),
                    size,
                    "no recent run made it; a run that wants it makes it again",
                    lambda pipeline=pipeline, whole=whole: _remove(search, place, pipeline, whole),
                )


def logs(search: Search) -> Iterator[Item]:
    """Yields old logs of runs."""
    place = Folder(local.folder_of_runs(search.config))
    for entry in place.list_dated("logs"):
        ours = re.fullmatch(rf"logs/({TRAINING}|{RETRAINING})-\d{{8}}T[\d.]+Z\.log", entry.name)
        if ours and search.is_old(entry.modified):
            yield Item(
                "log",
                place.address(entry.name),
                search.age(entry.modified),
                entry.size,
                "it is old",
                lambda name=entry.name: place.delete(name),
            )


def _executions(root: str) -> Iterator[str]:
    """Yields NODE/OUTPUT/NUMBER of each execution, and checkpoints/DIGEST of each training."""
    for node in _folders(root):
        if node == "checkpoints":
            yield from (f"{node}/{digest}" for digest in _folders(f"{root}/{node}"))
            continue
        for output in _folders(f"{root}/{node}"):
            numbers = _folders(f"{root}/{node}/{output}")
            yield from (f"{node}/{output}/{number}" for number in numbers if number.isdigit())


def _folders(path: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir(follow_symlinks=False))
    return []


def _look(path: str) -> tuple[int, float]:
    """Returns the bytes that deleting a folder frees, and when it was changed last. Hard links of spans free none."""
    size, modified = 0, os.lstat(path).st_mtime
    for folder, folders, names in os.walk(path):
        for name in [*folders, *names]:
            status = os.lstat(f"{folder}/{name}")
            modified = max(modified, status.st_mtime if name in folders or status.st_nlink == 1 else 0.0)
            size += status.st_size if name in names and status.st_nlink == 1 else 0
    return size, modified


def _remove(search: Search, place: Folder, pipeline: str, name: str) -> None:
    with search.storage.exclusive(pipeline):  # not while a run of the pipeline goes on
        place.delete_folder(name)
