"""The interface of storage, so that the rest of the code does not depend on its kind.

A name is relative to the storage, with forward slashes: `collected/cat/1.jpg`. Names that start with a dot are hidden:
neither listed nor counted. Every failure of a storage is a StorageError.
"""

import abc
import collections
import enum
import itertools
import os
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from pipeline.errors import StorageError

NO_HEADERS: Mapping[str, str] = types.MappingProxyType({})
S, T = TypeVar("S"), TypeVar("T")


class Kind(enum.Enum):
    """What a name in a folder stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    SPECIAL = "special file"


class Entry(Protocol):
    """A listed file."""

    name: str
    size: int  # bytes
    generation: str  # changes whenever the file is written


class DatedEntry(NamedTuple):
    """A listed file with the time of its last change."""

    name: str
    size: int  # bytes
    modified: float  # seconds since the epoch


class Source(Protocol):
    """A file that was read to be published. Valid until the next one is requested."""

    name: str  # relative to the requested prefix
    data: bytes
    problem: str  # why it has no data, or ""
    generation: str

    def unchanged(self) -> bool:
        """True while the file is the one that was read."""


class Stage(Protocol):
    """New files that are published atomically, together with the removal of their sources, or never."""

    def take(self, name: str) -> bool:
        """Reserves the name to publish under; call it first. Returns False when the name is taken.

        Earlier spans are complete from then on: their sources are archived.
        """

    def create(self, name: str) -> BinaryIO:
        """Opens a new file of the stage for writing. The caller closes it."""

    def reopen(self, name: str) -> BinaryIO | None:
        """Opens a closed file of the stage for reading; None when `publish` would return False."""

    def discard(self, name: str) -> None:
        """Removes a closed file of the stage."""

    def claim(self, source: Source, folder: str) -> bool:
        """Adds a source to those archived below `folder` on publication; returns False when it has changed."""

    def release(self, name: str, folder: str) -> None:
        """Takes back the claim of the source `name` below `folder`: it stays where it was."""

    def publish(self) -> bool:
        """Publishes the stage's files as `spans/<name>`, and archives the claimed sources below `archive/<name>`.

        They are durable when it returns. Returns False without publishing when the name was published meanwhile.
        """


class Storage(abc.ABC):
    """A folder or a bucket for data."""

    concurrency = 1  # number of calls of `submit` at the same time

    @abc.abstractmethod
    def address(self, name: str = "") -> str:
        """Returns the path or URI of `name`."""

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[Entry]:
        """Yields the files below a folder, unordered and lazily: the first costs the same among ten and a billion."""

    @abc.abstractmethod
    def list_all(self, prefix: str) -> Iterator[tuple[Entry, Kind]]:
        """Yields what `list` yields, and what it leaves out: folders, links and special files.

        A bucket has files alone.
        """

    @abc.abstractmethod
    def list_dated(self, prefix: str) -> Iterator[DatedEntry]:
        """Yields the files below a folder with their times, also hidden ones, but no links. Raises StorageError."""

    @abc.abstractmethod
    def folders(self, prefix: str) -> Sequence[str]:
        """Returns the names of the folders directly below `prefix`, sorted as text."""

    @abc.abstractmethod
    def read(self, name: str, last: int | None = None) -> bytes:
        """Returns the content of a file, or only its `last` bytes. Raises ObjectNotFound."""

    @abc.abstractmethod
    def read_each(self, names: Iterable[str], last: int | None = None) -> Iterator[bytes]:
        """Yields what `read` returns for each name, in order."""

    @abc.abstractmethod
    def copy_to(self, name: str, file: BinaryIO) -> None:
        """Writes the content of a file to an open one."""

    @abc.abstractmethod
    def write(
        self,
        name: str,
        data: bytes | BinaryIO,
        create_only: bool = False,
        durable: bool = True,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> bool:
        """Writes a whole file atomically. Returns False without writing when `create_only` and the name is taken.

        Without `durable` it is several times faster, but the file may be lost or empty after a power failure.
        `headers` are Content-Type and Cache-Control of responses with the file, which a folder does not keep.
        """

    @abc.abstractmethod
    def exists(self, name: str) -> bool:
        """True when the file or folder exists."""

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Deletes a file; a missing one is no error."""

    @abc.abstractmethod
    def delete_folder(self, name: str) -> None:
        """Deletes a folder with all that is in it; a missing one is no error. Raises StorageError for a link."""

    @abc.abstractmethod
    def move(self, name: str, to: str) -> bool:
        """Moves a file to a name that is free; False when it is not there or the name is taken."""

    @abc.abstractmethod
    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        """Calls a function that works on this storage; returns a callable that returns or raises its outcome.

        A bucket runs several calls at the same time.
        """

    @abc.abstractmethod
    def exclusive(self, doing: str) -> AbstractContextManager[None]:
        """Locks an activity such as "training" for one process; the others log that they wait, and wait."""

    @abc.abstractmethod
    def sources(self, prefix: str, max_bytes: int) -> Iterator[Source]:
        """Reads the files below `prefix` and its folders; too large ones, links and special files have a problem."""

    @abc.abstractmethod
    def unpublished(self, prefix: str) -> Iterator[Entry]:
        """Lists the files below `prefix` as `list` does, with claimed sources and without published ones."""

    @abc.abstractmethod
    def unpublished_sources(self, prefix: str, max_bytes: int) -> Iterator[Source]:
        """Reads the files of `unpublished` as `sources` does."""

    @abc.abstractmethod
    def take(self, source: Source, name: str) -> bool:
        """Moves a source to `name`, which must be free; returns False without moving when it has changed."""

    @abc.abstractmethod
    def stage(self, prefix: str, last: str) -> AbstractContextManager[Stage]:
        """Opens a stage for files made of the sources below `prefix`; call it under `exclusive`.

        The file `last` appears last. Without `publish`, leaving the stage restores the state before. The next stage
        cleans up after a killed process.
        """


HIDDEN = "a name that begins with a dot: hidden, or not written completely"
TOO_DEEP = "a folder inside a label's folder"  # why a source cannot be used


def too_large(max_bytes: int) -> str:
    """Returns the problem of a source with more bytes."""
    return f"larger than {max_bytes >> 20} MB"


def checked(name: str, place: str) -> str:
    """Returns the name; raises StorageError when it leads out of the storage."""
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise StorageError(place, f"{name!r} would leave this place", "Use a name below it.")
    return name


def map_in_order(storage: Storage, function: Callable[[S], T], items: Iterable[S]) -> Iterator[tuple[S, T]]:
    """Yields (item, function(item)) in order, with as many calls at the same time as `storage` allows."""
    begun = collections.deque()
    for item in items:
        begun.append((item, storage.submit(function, item)))
        while len(begun) >= storage.concurrency:
            item, outcome = begun.popleft()
            yield item, outcome()
    for item, outcome in begun:
        yield item, outcome()


def numbered_names(name: str) -> Iterator[str]:
    """Yields `a/b.jpg`, `a/b-2.jpg`, `a/b-3.jpg` ...: candidates where names are taken."""
    yield name
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".") if "." in last else (last, "", "")
    for number in itertools.count(2):
        yield f"{folder}{slash}{truncated_name(stem, f'-{number}{dot}{suffix}')}"


def truncated_name(stem: str, ending: str) -> str:
    """Returns `stem` + `ending`, with `stem` cut to the 255 bytes that file systems allow for a name."""
    room = 255 - len(os.fsencode(ending))
    return os.fsdecode(os.fsencode(stem)[: max(room, 0)]) + ending
