"""Reads the files of a folder one after another."""

import errno
import os
from collections.abc import Iterable, Iterator

from pipeline.storage.base import HIDDEN, TOO_DEEP, too_large
from pipeline.storage.files import move_back, os_errors

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Neither follows a link nor blocks on a pipe that replaced the file.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_UNNOTICED = getattr(os, "O_NOATIME", 0)  # skips updating the access time; allowed to the owner only
_OF_THIS_FILE = (
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ELOOP,
    errno.ENXIO,
)  # other errors would also hit the next file


class FolderSource:
    """A file that is held open, which detects that it was changed or replaced."""

    __slots__ = ("name", "data", "problem", "_place", "_last", "_file", "_status")

    def __init__(self, name: str, place: int, last: str, problem: str = "", data: bytes = b"", file=-1, status=None):
        self.name, self.data, self.problem = name, data, problem
        self._place, self._last, self._file, self._status = place, last, file, status

    @property
    def generation(self) -> str:
        return generation(self._status)

    def unchanged(self) -> bool:
        if self._file < 0:
            return True
        before, now = self._status, os.fstat(self._file)
        # A file that was replaced by a rename has lost a link.
        return (
            now.st_mtime_ns == before.st_mtime_ns and now.st_size == before.st_size and now.st_nlink == before.st_nlink
        )

    def move(self, path: str) -> bool:
        """Moves the file to a free path; returns False without moving when it has changed."""
        with os_errors(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return self.rename(path)

    def rename(self, path: str) -> bool:
        """Moves the file like `move`, into an existing folder."""
        try:
            os.rename(self._last, path, src_dir_fd=self._place)
        except FileNotFoundError:
            return False
        if self.unchanged():
            return True
        # It changed after it was read. Checking before the move would leave a moment in which it could change.
        move_back(path, self._last, self._place)
        return False


def generation(status: os.stat_result) -> str:
    """Returns a text that changes whenever the file is written."""
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def read_all(path: str, max_bytes: int, without: str = "") -> Iterator[FolderSource]:
    """Reads the files of a folder, then of its folders; too large ones, links and special files have a problem.

    So do hidden ones, except for the entry `without` of the folder itself.
    """
    with os_errors(path):
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            files, folders, others, hidden = _snapshot(top)
            yield from _read(top, "", files, max_bytes)
            yield from _problems(top, "", (name for name in hidden if name != without), HIDDEN)
            yield from _problems(top, "", others, "neither a file nor a folder; links are not followed")
            for name in folders:
                try:
                    inner = os.open(name, _FOLDER, dir_fd=top)
                except FileNotFoundError:
                    continue
                except PermissionError as error:
                    yield from _problems(top, "", [name], f"cannot be read: {error.strerror}")
                    continue
                try:
                    files, deeper, others, hidden = _snapshot(inner)
                    yield from _read(inner, f"{name}/", files, max_bytes)
                    yield from _problems(inner, f"{name}/", hidden, HIDDEN)
                    yield from _problems(inner, f"{name}/", others, "not a file; links are not followed")
                    yield from _problems(inner, f"{name}/", deeper, TOO_DEEP)
                finally:
                    os.close(inner)
        finally:
            os.close(top)


def _snapshot(folder: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Returns the names of the files, folders, other and hidden entries of an open folder, each sorted.

    Collected first, because a listing may show a name twice while files are moved.
    """
    files, folders, others, hidden = set(), set(), set(), set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                hidden.add(entry.name)
            else:
                regular = entry.is_file(follow_symlinks=False)
                (files if regular else folders if entry.is_dir(follow_symlinks=False) else others).add(entry.name)
    return sorted(files), sorted(folders), sorted(others), sorted(hidden)


def _problems(place: int, prefix: str, names: Iterable[str], problem: str) -> Iterator[FolderSource]:
    return (FolderSource(f"{prefix}{last}", place, last, problem) for last in names)


def _read(place: int, prefix: str, names: Iterable[str], max_bytes: int) -> Iterator[FolderSource]:
    """Yields a source for each name; skips files that are gone or being written."""
    for last in names:
        file = -1
        try:
            file = _open(last, place)
            status = os.fstat(file)
            size = status.st_size
            if size > max_bytes:
                yield FolderSource(f"{prefix}{last}", place, last, too_large(max_bytes))
                continue
            data = os.read(file, size)
            if len(data) == size:
                yield FolderSource(f"{prefix}{last}", place, last, "", data, file, status)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in _OF_THIS_FILE:
                raise
            yield FolderSource(f"{prefix}{last}", place, last, f"cannot be read: {error.strerror}")
        finally:
            if file >= 0:
                os.close(file)


def _open(last: str, place: int) -> int:
    try:
        return os.open(last, _FILE | _UNNOTICED, dir_fd=place)
    except PermissionError:
        return os.open(last, _FILE, dir_fd=place)
