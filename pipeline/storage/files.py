"""Operations on files that are durable or never overwrite, and operating-system errors in one readable line."""

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import StorageError
from pipeline.storage.base import numbered_names

_REMEDIES = {
    errno.ENOSPC: "Free some space, then run it again: nothing was lost.",
    errno.EDQUOT: "Free some space, then run it again: nothing was lost.",
    errno.EFBIG: "Allow larger files, then run it again: nothing was lost.",
    errno.EROFS: "Make it writable, or set WORKSPACE to a folder that is.",
    errno.EACCES: "Make it accessible to you, or set WORKSPACE to a folder that is.",
    errno.EPERM: "Make it accessible to you, or set WORKSPACE to a folder that is.",
    errno.EEXIST: "A folder has to be there.",
    errno.ENOTDIR: "A folder has to be there.",
    errno.EXDEV: "collected/, spans/, archive/ and rejected/ have to be on one file system.",
}


@contextlib.contextmanager
def os_errors(place: str) -> Iterator[None]:
    """Converts OSError to StorageError."""
    try:
        yield
    except OSError as error:
        named = error.filename2 or error.filename  # of a rename, the target
        where = os.path.join(place, os.fsdecode(named)) if isinstance(named, (str, bytes)) else place
        remedy = _REMEDIES.get(error.errno, "Fix it, then run it again.")
        raise StorageError(where, error.strerror or str(error), remedy) from error


# what the system, SQLite and TensorFlow call it
_FULL = re.compile(r"No space left on device|disk is full|Disk quota exceeded|disk I/O error", re.IGNORECASE)
_SMALL = 64 * 2**10  # bytes: a disk with no more than this left is full


def full_disk(error: BaseException, *folders: str) -> StorageError | None:
    """Returns an error that names the folder whose disk is full, where that is why a library failed; else None.

    Libraries wrap what the system says in errors of their own, so their text and the free space decide.
    """
    fullest = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
    chain, link = [], error
    while link and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(_FULL.search(str(link)) for link in chain) or shutil.disk_usage(fullest).free <= _SMALL:
        return StorageError(fullest, os.strerror(errno.ENOSPC), _REMEDIES[errno.ENOSPC])
    return None


def file_sha256(file: BinaryIO) -> str:
    """Returns the hexadecimal sha256 of an open file, from where it stands to its end."""
    total = hashlib.sha256()
    while piece := file.read(1 << 20):
        total.update(piece)
    return total.hexdigest()


def refuse_links(root: str, folders: Iterable[str]) -> None:
    """Raises StorageError when one of the folders, each within the one before, the first in `root`, is a link.

    What lies behind it is not the workspace's. `root` itself may be one: a user chose it.
    """
    path = root
    for name in folders:
        path = f"{path}/{name}"
        if os.path.islink(path):
            raise StorageError(path, "a link is in the place of a folder", _BEHIND)


_BEHIND = (
    "Nothing behind it was read or changed. Put a folder there; to have it on another disk, mount that there, or set"
    " WORKSPACE to a folder on it."
)

MARKER = ".made-by-spanloop"  # lies in folders whose contents may be deleted


def own_folder(path: str) -> bool:
    """Returns whether a folder is there that may be deleted with all that is in it: empty, or with a MARKER.

    Raises StorageError for a link, a file and a folder that another program or a user made.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise
        raise StorageError(path, "a link or a file is in the place of a folder", _FOREIGN) from None
    try:
        names = os.listdir(folder)
    finally:
        os.close(folder)
    if names and MARKER not in names:
        raise StorageError(path, "this folder was not made by Spanloop", _FOREIGN)
    return True


def remove_own_folder(path: str) -> None:
    """Deletes a folder that `own_folder` allows to be deleted; one that does not exist is fine."""
    if not own_folder(path):
        return
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            os.unlink(entry)
    shutil.rmtree(path)  # the marker last: a process killed before that leaves a folder that can still be deleted


_FOREIGN = "Nothing in it was deleted. Move it away, then run it again."


class _Lasting(io.FileIO):
    """A file that is synced to the disk when it is closed."""

    def close(self):
        try:
            if not self.closed:
                os.fsync(self.fileno())
        finally:
            super().close()


def create(path: str) -> BinaryIO:
    """Opens a new file for writing, which is synced to the disk when it is closed."""
    return io.BufferedWriter(_Lasting(path, "x"), 1 << 20)


def sync(folder: str) -> None:
    """Makes the entries of a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_back(path: str, to: str, folder: int | None = None) -> None:
    """Moves a file to the name `to` (in the open `folder`), or to a numbered one when the name is taken."""
    for name in numbered_names(to):
        if move_to_free_name(path, name, folder):
            return


def move_to_free_name(path: str, to: str, folder: int | None = None) -> bool:
    """Moves a file; returns False when the name `to` is taken. Unlike a rename, it never replaces a file."""
    try:
        os.link(path, to, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        # After a kill between link and unlink the file has both names.
        if not os.path.samestat(os.lstat(path), os.stat(to, dir_fd=folder, follow_symlinks=False)):
            return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # Without hard links a file that arrives right now may be replaced.
        if _taken(to, folder):
            return False
        os.rename(path, to, dst_dir_fd=folder)
        return True
    os.unlink(path)
    return True


def _taken(name: str, folder: int | None) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False
