"""Verifies a release as it would be used: its record, the checksum of each file, and what its model can do."""

import os
import shutil
import tempfile

from pipeline.errors import StorageError
from pipeline.releases.archive import ARCHIVE
from pipeline.releases.base import Releases
from pipeline.releases.folder import FolderReleases
from pipeline.releases.record import RECORD, Release, format_record
from pipeline.storage import files


def models_of(release: Release) -> tuple[str, ...]:
    """Returns the names of the files that servers and devices download."""
    names = (ARCHIVE, release.device.file if release.device else "")
    return tuple(name for name in names if name in release.files)


def verify(releases: Releases, tag: str, to: str) -> Release:
    """Downloads a release to the new folder `to`/TAG, so that `to` is a folder of releases, and checks every file.

    Raises ReleaseNotFound, BrokenRelease or UnsafeModel, and leaves nothing there; StorageError where TAG exists.
    """
    release = releases.get(tag)
    folder = os.path.join(to, release.tag)
    with files.os_errors(to):
        os.makedirs(to, exist_ok=True)
        try:
            os.mkdir(folder)
        except FileExistsError:
            raise StorageError(folder, "exists", "Name another folder, or delete it.") from None
    try:
        for name in release.files:
            releases.fetch_file(release, name, os.path.join(folder, name))
        with files.os_errors(folder), open(os.path.join(folder, RECORD), "xb") as file:
            file.write(format_record(release))
        if not release.cloud_model:
            with tempfile.TemporaryDirectory(prefix="spanloop-") as unpacked:
                FolderReleases(to).fetch(release, os.path.join(unpacked, "model"))
    except BaseException:
        shutil.rmtree(folder)
        raise
    return release
