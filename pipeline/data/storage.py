"""One set of verbs for the places where data lie, so that nothing else knows what kind of place it is.

A name is relative to the place, with forward slashes: `collected/cat/1.jpg`. What starts with a dot is hidden: neither
listed nor counted. Whatever goes wrong with a place is a StorageError.
"""

import abc
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from pipeline.errors import UsageError


class Entry(Protocol):
    """A file as a listing shows it."""

    name: str
    size: int  # bytes
    generation: str  # another one as soon as the file is written anew


class Source(Protocol):
    """A file that was read because something may be made of it. Valid until the next one is asked for."""

    name: str  # relative to the prefix that was asked for
    data: bytes
    problem: str  # why there are no data, or ""
    generation: str

    def unchanged(self) -> bool:
        """True when the file still is what was read."""


class Stage(Protocol):
    """New files that become visible at once, together with the end of the sources that they were made of, or never."""

    def create(self, name: str) -> BinaryIO:
        """Opens a new file of the stage for writing. What was written is on the disk when it was closed."""

    def claim(self, source: Source, folder: str) -> bool:
        """Takes a source out of its place, to be archived below `folder`; False when it is not what was read."""

    def publish(self, name: str) -> bool:
        """Makes the stage's files appear as `spans/<name>`, and archives what was claimed below `archive/<name>`.

        False, and nothing published, when the name is taken.
        """


class Storage(abc.ABC):
    """A place for data."""

    @abc.abstractmethod
    def address(self, name: str = "") -> str:
        """Returns the path or URI by which others find `name`."""

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[Entry]:
        """Yields the files below a folder in no order and lazily: the first costs the same among ten and a billion."""

    @abc.abstractmethod
    def folders(self, prefix: str) -> Sequence[str]:
        """Returns the names of the folders directly below `prefix`, sorted as text."""

    @abc.abstractmethod
    def read(self, name: str, last: int | None = None) -> bytes:
        """Returns what a file holds, or only its `last` bytes."""

    @abc.abstractmethod
    def write(self, name: str, data: bytes, create_only: bool = False, lasting: bool = True) -> bool:
        """Writes a whole file at once. False, and nothing written, when `create_only` and the name is taken.

        Not `lasting` is several times faster, but the file may be gone or empty after a power failure.
        """

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """True when there is such a file or folder."""

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is fine."""

    @abc.abstractmethod
    def move(self, name: str, to: str) -> None:
        """Moves a file, in place of what may be there."""

    @abc.abstractmethod
    def exclusive(self, doing: str) -> AbstractContextManager[None]:
        """Lets one process at a time be `doing` something ("training"); the others say that they wait, and wait."""

    @abc.abstractmethod
    def sources(self, prefix: str, most_bytes: int) -> Iterator[Source]:
        """Reads the files below `prefix` and its folders; with a problem what is larger, a link, or no file."""

    @abc.abstractmethod
    def take(self, source: Source, name: str) -> bool:
        """Moves a source to `name`, which has to be free; False, and nothing moved, when it is not what was read."""

    @abc.abstractmethod
    def stage(self, prefix: str) -> AbstractContextManager[Stage]:
        """Begins to publish something made of files below `prefix`; call it under `exclusive`.

        Left without `publish`, it puts back what was claimed. The next stage does so for a process that was killed.
        """

    @abc.abstractmethod
    def claimed(self, prefix: str) -> str:
        """Returns the folder of sources that were claimed and are not published yet, to be listed beside `prefix`."""


def open_storage(workspace: str) -> Storage:
    """Returns the place that a WORKSPACE names."""
    from pipeline.data.folder import Folder

    return Folder(workspace)


def open_folder(path: str) -> Storage:
    """Returns an existing folder of the user's; raises UsageError when it is none."""
    if not os.path.isdir(path):
        raise UsageError(f"{path} is not a folder: name one that holds <label>/<image> or <label>_<image>.")
    return open_storage(path)


def alike(name: str) -> Iterator[str]:
    """Yields `a/b.jpg`, `a/b-2.jpg`, `a/b-3.jpg` ...: names to choose from when some are taken."""
    yield name
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".") if "." in last else (last, "", "")
    for number in itertools.count(2):
        yield f"{folder}{slash}{with_ending(stem, f'-{number}{dot}{suffix}')}"


def with_ending(stem: str, ending: str) -> str:
    """Returns `stem` and `ending` as a file name, of which no file system has to bear more than 255 bytes."""
    room = 255 - len(os.fsencode(ending))
    return os.fsdecode(os.fsencode(stem)[: max(room, 0)]) + ending
