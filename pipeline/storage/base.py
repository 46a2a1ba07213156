"""One set of verbs for the places where data lie, so that nothing else knows what kind of place it is.

A name is relative to the place, with forward slashes: `collected/cat/1.jpg`. What starts with a dot is hidden: neither
listed nor counted. Whatever goes wrong with a place is a StorageError.
"""

import abc
import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol, TypeVar

from pipeline.errors import StorageError

S, T = TypeVar("S"), TypeVar("T")


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

    def take(self, name: str) -> bool:
        """Takes a name for what will be published, before anything else; False when somebody has it.

        What was published before is complete from then on: its sources are archived.
        """

    def create(self, name: str) -> BinaryIO:
        """Opens a new file of the stage for writing; close each."""

    def claim(self, source: Source, folder: str) -> bool:
        """Makes a source part of what will be published and archived below `folder`; False when it has changed."""

    def publish(self) -> bool:
        """Makes the stage's files appear as `spans/<name>`, and archives what was claimed below `archive/<name>`.

        When it returns they last. False, and nothing published, when somebody has published that name.
        """


class Storage(abc.ABC):
    """A place for data."""

    concurrency = 1  # calls that `submit` has under way

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
    def read_each(self, names: Iterable[str], last: int | None = None) -> Iterator[bytes]:
        """Yields what `read` returns for each name, in order."""

    @abc.abstractmethod
    def copy_to(self, name: str, file: BinaryIO) -> None:
        """Writes what a file holds to an open one."""

    @abc.abstractmethod
    def write(self, name: str, data: bytes | BinaryIO, create_only: bool = False, durable: bool = True) -> bool:
        """Writes a whole file at once. False, and nothing written, when `create_only` and the name is taken.

        Not `durable` is several times faster, but the file may be gone or empty after a power failure.
        """

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """True when there is such a file or folder."""

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is fine."""

    @abc.abstractmethod
    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        """Calls a function that works on this place, and returns what returns or raises its outcome.

        Where each call waits for a network, several are under way at a time.
        """

    @abc.abstractmethod
    def exclusive(self, doing: str) -> AbstractContextManager[None]:
        """Lets one process at a time be `doing` something ("training"); the others say that they wait, and wait."""

    @abc.abstractmethod
    def sources(self, prefix: str, max_bytes: int) -> Iterator[Source]:
        """Reads the files below `prefix` and its folders; with a problem what is larger, a link, or no file."""

    @abc.abstractmethod
    def unpublished(self, prefix: str) -> Iterator[Entry]:
        """Lists the files below `prefix` as `list` does, with what a stage has claimed, without what is published."""

    @abc.abstractmethod
    def unpublished_sources(self, prefix: str, max_bytes: int) -> Iterator[Source]:
        """Reads what `unpublished` lists as `sources` does."""

    @abc.abstractmethod
    def take(self, source: Source, name: str) -> bool:
        """Moves a source to `name`, which has to be free; False, and nothing moved, when it is not what was read."""

    @abc.abstractmethod
    def stage(self, prefix: str, last: str) -> AbstractContextManager[Stage]:
        """Begins to publish something made of files below `prefix`; call it under `exclusive`.

        The file `last` appears last. Left without `publish`, nothing has happened. The next stage clears up after a
        process that was killed.
        """


TOO_DEEP = "a folder inside a label's folder"  # why a source cannot be used


def too_large(max_bytes: int) -> str:
    """Says why a source cannot be used that holds more bytes."""
    return f"larger than {max_bytes >> 20} MB"


def checked(name: str, place: str) -> str:
    """Returns a name that stays within its place; raises StorageError."""
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise StorageError(place, f"{name!r} would leave this place", "Use a name below it.")
    return name


def map_in_order(storage: Storage, function: Callable[[S], T], items: Iterable[S]) -> Iterator[tuple[S, T]]:
    """Yields (item, function(item)) in order; `storage` says how many calls are under way at a time."""
    begun = collections.deque()
    for item in items:
        begun.append((item, storage.submit(function, item)))
        while len(begun) >= storage.concurrency:
            item, outcome = begun.popleft()
            yield item, outcome()
    for item, outcome in begun:
        yield item, outcome()


def numbered_names(name: str) -> Iterator[str]:
    """Yields `a/b.jpg`, `a/b-2.jpg`, `a/b-3.jpg` ...: names to choose from when some are taken."""
    yield name
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".") if "." in last else (last, "", "")
    for number in itertools.count(2):
        yield f"{folder}{slash}{truncated_name(stem, f'-{number}{dot}{suffix}')}"


def truncated_name(stem: str, ending: str) -> str:
    """Returns `stem` and `ending` as a file name, of which no file system has to bear more than 255 bytes."""
    room = 255 - len(os.fsencode(ending))
    return os.fsdecode(os.fsencode(stem)[: max(room, 0)]) + ending
