"""The stage of a span in a folder: a hidden folder that one rename publishes."""

import contextlib
import errno
import os
from typing import BinaryIO

from pipeline.storage import files
from pipeline.storage.folder_sources import FolderSource

NAME = ".preparing"
_CLAIMED = "archive"  # in the stage and, until it is moved, in the span
CLAIMED_SOURCES = f"{NAME}/{_CLAIMED}/sources"


class FolderStage:
    """A stage beside the sources, so that each is at any moment either unpublished or published.

    One rename turns the stage into a span, with all claimed sources; a second one moves those to the archive. So
    claimed sources in a stage are unpublished, and those in a span are only to be moved.
    """

    def __init__(self, root: str, place: str):
        self._root, self._place, self._path = root, place, f"{place}/{NAME}"
        self._name = ""
        self._open: list[BinaryIO] = []
        self._made: set[str] = set()  # folders
        for folder in ("spans", "archive"):
            files.refuse_links(root, [folder])
        with contextlib.suppress(FileNotFoundError):
            for span in os.listdir(f"{root}/spans"):
                self._archive(span)
        self.undo()

    def take(self, name: str) -> bool:
        # Only the rename of `publish` takes the name; this check saves the work for a name that is taken.
        self._name = name
        return not os.path.lexists(f"{self._root}/spans/{name}")

    def create(self, name: str) -> BinaryIO:
        path = f"{self._path}/{name}"
        self._make(path.rpartition("/")[0])
        file = files.create(path)
        self._open.append(file)
        return file

    def claim(self, source: FolderSource, folder: str) -> bool:
        path = f"{self._path}/{_CLAIMED}/{folder}/{source.name}"
        self._make(path.rpartition("/")[0])
        return source.rename(path)

    def reopen(self, name: str) -> BinaryIO:
        return open(f"{self._path}/{name}", "rb")

    def discard(self, name: str) -> None:
        os.unlink(f"{self._path}/{name}")

    def release(self, name: str, folder: str) -> None:
        home = f"{self._place}/{name}"
        os.makedirs(os.path.dirname(home), exist_ok=True)
        files.move_back(f"{self._path}/{_CLAIMED}/{folder}/{name}", home)

    def publish(self) -> bool:
        name = self._name
        for file in self._open:
            file.close()
        for folder, _, _ in os.walk(self._path):
            files.sync(folder)
        os.makedirs(f"{self._root}/spans", exist_ok=True)
        try:
            os.rename(self._path, f"{self._root}/spans/{name}")
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        os.unlink(f"{self._root}/spans/{name}/{files.MARKER}")
        files.sync(f"{self._root}/spans")
        files.sync(self._place)
        self._archive(name)
        return True

    def undo(self) -> None:
        """Moves claimed sources back and deletes the stage. After `publish` it does nothing."""
        for file in self._open:
            with contextlib.suppress(OSError):
                file.close()
        if not files.own_folder(self._path):
            return
        claimed = f"{self._path}/{_CLAIMED}"
        # New files are deleted first: on a full disk, moving back may need the space.
        for _, folders, written, descriptor in os.fwalk(self._path):
            with contextlib.suppress(ValueError):
                folders.remove(_CLAIMED)
            for last in written:
                if last != files.MARKER:
                    os.unlink(last, dir_fd=descriptor)
        for kind in ("sources", "duplicates"):
            for folder, _, names in os.walk(f"{claimed}/{kind}"):
                below = folder[len(claimed) + 1 + len(kind) :].strip("/")
                files.refuse_links(self._place, below.split("/") if below else ())
                home = f"{self._place}/{below}"
                os.makedirs(home, exist_ok=True)
                for last in names:
                    files.move_back(f"{folder}/{last}", f"{home}/{last}")
        for folder, _, _ in os.walk(self._path, topdown=False):
            if folder == self._path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{files.MARKER}")
            os.rmdir(folder)  # fails if an image is still there, so that none is lost

    def _archive(self, span: str) -> None:
        claimed = f"{self._root}/spans/{span}/{_CLAIMED}"
        if os.path.isdir(claimed) and not os.path.islink(claimed) and not os.path.islink(os.path.dirname(claimed)):
            os.makedirs(f"{self._root}/archive", exist_ok=True)
            os.rename(claimed, f"{self._root}/archive/{span}")

    def _make(self, folder: str) -> None:
        if not self._made:
            os.makedirs(self._path, exist_ok=True)
            with open(f"{self._path}/{files.MARKER}", "x"):
                self._made.add(self._path)
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(folder)
