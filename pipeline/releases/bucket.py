"""Models released in a bucket."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

from pipeline.errors import BrokenRelease, ObjectNotFound, ReleaseNotFound
from pipeline.releases.base import Releases, newest_first
from pipeline.releases.record import LARGEST_RECORD, RECORD, TAG, Release
from pipeline.storage.factory import open_storage


class BucketReleases(Releases):
    """A prefix of a bucket. Creating the archive reserves the tag; writing the record completes the release.

    A process killed in between leaves an archive without a record, which is not a release and keeps its number.
    """

    def __init__(self, address: str):
        self.address = address
        self._storage = open_storage(address)

    def tags(self) -> list[str]:
        names = (entry.name.split("/") for entry in self._storage.list(""))
        return newest_first(name[0] for name in names if name[1:] == [RECORD])

    def _taken(self) -> list[str]:
        return list(filter(TAG.fullmatch, self._storage.folders("")))

    def _record(self, tag: str) -> bytes:
        try:
            return self._storage.read(f"{tag}/{RECORD}", last=LARGEST_RECORD + 1)
        except ObjectNotFound:
            raise ReleaseNotFound(tag, self.address) from None

    @contextlib.contextmanager
    def _file(self, tag: str, name: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile(prefix="spanloop-", suffix=f"-{name}") as file:
            try:
                self._storage.copy_to(f"{tag}/{name}", file)
            except ObjectNotFound:
                raise BrokenRelease(tag, f"{name} is missing") from None
            file.flush()
            yield file.name

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return self._storage.exclusive("releasing a model")

    def _packing_folder(self) -> contextlib.AbstractContextManager[str]:
        return tempfile.TemporaryDirectory(prefix="spanloop-")

    def _release(self, folder: str, release: Release, text: str) -> bool:
        for name in [*release.files, RECORD]:
            with open(os.path.join(folder, name), "rb") as file:
                if not self._storage.write(f"{release.tag}/{name}", file, create_only=True):
                    return False
        return True
