"""Storage in a folder."""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

from pipeline.errors import ObjectNotFound, StorageError
from pipeline.storage import files, folder_sources, folder_stage
from pipeline.storage.base import NO_HEADERS, DatedEntry, Kind, Storage, checked
from pipeline.storage.files import os_errors
from pipeline.storage.folder_sources import FolderSource
from pipeline.storage.folder_stage import FolderStage

T = TypeVar("T")

log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished"
_UNFINISHED_NAME = re.compile("[0-9a-f]{16}")  # as `write` gives them
_FORGOTTEN = 24 * 3600  # seconds after which an unfinished file was left by a killed process


class Folder(Storage):
    """Names are paths below one folder, which the first write creates."""

    def __init__(self, path: str):
        self._root = os.path.abspath(path)

    def address(self, name: str = "") -> str:
        return self._path(name) if name else self._root

    def list(self, prefix: str) -> Iterator["FolderEntry"]:
        return (entry for entry, kind in self.list_all(prefix) if kind == Kind.FILE)

    def list_all(self, prefix: str) -> Iterator[tuple["FolderEntry", Kind]]:
        path = self._own_folder(prefix)
        with os_errors(self._root):
            yield from _walk(path, prefix)

    def list_dated(self, prefix: str) -> Iterator[DatedEntry]:
        place = self._own_folder(prefix)
        with os_errors(self._root):
            for folder, _, names in os.walk(place):
                for name in names:
                    path = f"{folder}/{name}"
                    try:
                        status = os.lstat(path)
                    except FileNotFoundError:  # another process has just deleted it
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield DatedEntry(path[len(self._root) + 1 :], status.st_size, status.st_mtime)

    def folders(self, prefix: str) -> Sequence[str]:
        path = self._own_folder(prefix)
        with os_errors(self._root), contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
        return []

    def read(self, name: str, last: int | None = None) -> bytes:
        with self._opened(name) as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()

    def read_each(self, names: Iterable[str], last: int | None = None) -> Iterator[bytes]:
        return (self.read(name, last) for name in names)

    def copy_to(self, name: str, file: BinaryIO) -> None:
        with self._opened(name) as source:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        """Opens a file to read. Raises ObjectNotFound."""
        with os_errors(self._root):
            try:
                file = open(self._path(name), "rb", opener=_open_at_once)
            except FileNotFoundError:
                raise ObjectNotFound(self._path(name)) from None
            with file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise StorageError(self._path(name), "not a file", "Name a file.")
                yield file

    def write(
        self,
        name: str,
        data: bytes | BinaryIO,
        create_only: bool = False,
        durable: bool = True,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> bool:
        path, unfinished = self._own(name), self._own(f"{_UNFINISHED}/{os.urandom(8).hex()}")
        with os_errors(self._root):
            os.makedirs(os.path.dirname(unfinished), exist_ok=True)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                with files.create(unfinished) if durable else open(unfinished, "xb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        shutil.copyfileobj(data, file, 1 << 20)
                if create_only:
                    return files.move_to_free_name(unfinished, path)
                os.replace(unfinished, path)
                return True
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unfinished)

    def exists(self, name: str) -> bool:
        return os.path.lexists(self._path(name))

    def delete(self, name: str) -> None:
        with os_errors(self._root), contextlib.suppress(FileNotFoundError):
            os.unlink(self._own(name))

    def delete_folder(self, name: str) -> None:
        path = self._own_folder(name)
        with os_errors(self._root), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def move(self, name: str, to: str) -> bool:
        path, target = self._own(name), self._own(to)
        with os_errors(self._root):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            try:
                return files.move_to_free_name(path, target)
            except FileNotFoundError:
                return False

    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        outcome = function(*arguments)
        return lambda: outcome

    @contextlib.contextmanager
    def exclusive(self, doing: str) -> Iterator[None]:
        with os_errors(self._root):
            os.makedirs(self._root, exist_ok=True)
            # The lock belongs to the open file, so it ends with the process. The file itself stays: if it were deleted,
            # two processes could each lock a file of that name.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            lock = os.open(self._path(f".{doing.replace(' ', '-')}.lock"), flags, 0o666)
        try:
            with os_errors(self._root):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.warning("Another process is %s in %s: waiting until it is done.", doing, self._root)
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def sources(self, prefix: str, max_bytes: int) -> Iterator[FolderSource]:
        path = self._own_folder(prefix)
        return folder_sources.read_all(path, max_bytes, folder_stage.NAME) if os.path.isdir(path) else iter(())

    def unpublished(self, prefix: str) -> Iterator["FolderEntry"]:
        # Claimed sources are not published yet, also after a kill.
        if not self._is_foreign(prefix):
            with os_errors(self._root):
                claimed = _walk(self._own_folder(f"{prefix}/{folder_stage.CLAIMED_SOURCES}"), prefix)
                yield from (entry for entry, kind in claimed if kind == Kind.FILE)
        yield from self.list(prefix)

    def unpublished_sources(self, prefix: str, max_bytes: int) -> Iterator[FolderSource]:
        if not self._is_foreign(prefix):
            yield from self.sources(f"{prefix}/{folder_stage.CLAIMED_SOURCES}", max_bytes)
        yield from self.sources(prefix, max_bytes)

    def _is_foreign(self, prefix: str) -> bool:
        """Returns whether a link is in the place of the stage, which making one refuses: nothing behind it is ours."""
        return os.path.islink(self._path(f"{prefix}/{folder_stage.NAME}"))

    def take(self, source: FolderSource, name: str) -> bool:
        return source.move(self._own(name))

    @contextlib.contextmanager
    def stage(self, prefix: str, last: str) -> Iterator[FolderStage]:
        del last  # one rename publishes all files
        with os_errors(self._root):
            self._forget_unfinished()
            stage = FolderStage(self._root, self._own_folder(prefix))
            try:
                yield stage
            except BaseException:
                # The cause of the failure may also prevent undoing; then the next stage does it.
                with contextlib.suppress(OSError):
                    stage.undo()
                raise
            stage.undo()

    def _forget_unfinished(self) -> None:
        """Deletes the unfinished files of killed processes."""
        path = self._own_folder(_UNFINISHED)
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            for name in os.listdir(folder):
                if _UNFINISHED_NAME.fullmatch(name):
                    self._forget(name, folder)
        finally:
            os.close(folder)

    def _forget(self, name: str, folder: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # finished just now
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - _FORGOTTEN:
                os.unlink(name, dir_fd=folder)

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked(name, self._root)}"

    def _own(self, name: str) -> str:
        """Returns the path of what may be written or removed; raises StorageError when that is behind a link."""
        path = self._path(name)
        files.refuse_links(self._root, name.split("/")[:-1])
        return path

    def _own_folder(self, prefix: str) -> str:
        """Returns the path of a folder whose files are to be listed; raises StorageError when that is behind a link."""
        return self._own(f"{prefix}/" if prefix else "")[:-1]


def _open_at_once(path: str, flags: int) -> int:
    """Opens a file, without waiting for a writer where it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class FolderEntry:
    """A listed file. Its size and generation are read on access: 0 and "" where it was deleted or moved meanwhile."""

    __slots__ = ("name", "_entry")

    def __init__(self, name: str, entry: os.DirEntry):
        self.name, self._entry = name, entry

    @property
    def size(self) -> int:
        status = self._status()
        return status.st_size if status else 0

    @property
    def generation(self) -> str:
        status = self._status()
        return folder_sources.generation(status) if status else ""

    def _status(self) -> os.stat_result | None:
        with contextlib.suppress(FileNotFoundError):
            return self._entry.stat(follow_symlinks=False)
        return None


def _walk(path: str, name: str) -> Iterator[tuple[FolderEntry, Kind]]:
    try:
        entries = os.scandir(path)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            found = FolderEntry(f"{name}/{entry.name}", entry)
            if entry.is_file(follow_symlinks=False):
                yield found, Kind.FILE
            elif entry.is_dir(follow_symlinks=False):
                yield found, Kind.FOLDER
                yield from _walk(entry.path, found.name)
            else:
                yield found, Kind.LINK if entry.is_symlink() else Kind.SPECIAL
