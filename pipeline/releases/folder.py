"""Models released in a folder."""

import contextlib
import errno
import os
from collections.abc import Iterator

from pipeline.errors import BrokenRelease, ReleaseNotFound, StorageError
from pipeline.releases.base import Releases, newest_first
from pipeline.releases.record import LARGEST_RECORD, RECORD, TAG, Release
from pipeline.storage import files
from pipeline.storage.folder import Folder


class FolderReleases(Releases):
    """A folder with a subfolder per release, which appears by one rename."""

    def __init__(self, path: str):
        self.address = self._root = os.path.abspath(path)

    def tags(self) -> list[str]:
        return [tag for tag in newest_first(self._taken()) if os.path.exists(self._path(tag, RECORD))]

    def _taken(self) -> list[str]:
        with files.os_errors(self._root), contextlib.suppress(FileNotFoundError):
            return list(filter(TAG.fullmatch, os.listdir(self._root)))
        return []

    def _record(self, tag: str) -> bytes:
        with files.os_errors(self._root):
            try:
                with open(self._path(tag, RECORD), "rb") as file:
                    return file.read(LARGEST_RECORD + 1)
            except FileNotFoundError:
                raise ReleaseNotFound(tag, self._root) from None

    @contextlib.contextmanager
    def _file(self, tag: str, name: str) -> Iterator[str]:
        path = self._path(tag, name)
        if not os.path.exists(path):
            raise BrokenRelease(tag, f"{name} is missing")
        yield path

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return Folder(self._root).exclusive("releasing a model")

    @contextlib.contextmanager
    def _packing_folder(self) -> Iterator[str]:
        # on the releases' file system, so that a rename publishes it
        folder = self._path(".publishing")
        with files.os_errors(self._root):
            files.remove_own_folder(folder)  # left by a killed process
            os.mkdir(folder)
            with open(f"{folder}/{files.MARKER}", "x"):
                packed = f"{folder}/release"
            os.mkdir(packed)
            try:
                yield packed
            finally:
                with contextlib.suppress(OSError, StorageError):
                    files.remove_own_folder(folder)

    def _release(self, folder: str, release: Release, text: str) -> bool:
        with files.os_errors(self._root):
            files.sync(folder)
            try:
                os.rename(folder, self._path(release.tag))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                return False
            files.sync(self._root)
            return True

    def _path(self, *names: str) -> str:
        return os.path.join(self._root, *names)
