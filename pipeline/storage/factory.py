"""Opens the storage of an address: a folder or a bucket."""

import os

from pipeline.errors import NotAFolder, UsageError
from pipeline.storage.base import Storage


def open_storage(workspace: str) -> Storage:
    """Returns the storage at a folder's path or gs://bucket/prefix. Raises NotAFolder."""
    if workspace.startswith("gs://"):
        from pipeline.storage.bucket import Bucket

        return Bucket(workspace)
    from pipeline.storage.folder import Folder

    if file := _file_in_the_way(os.path.abspath(workspace)):
        raise NotAFolder(workspace, file)
    return Folder(workspace)


def _file_in_the_way(path: str) -> str:
    """Returns the path, or one above it, that exists and is not a folder; "" without one."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return "" if os.path.isdir(path) else path


def open_folder(path: str) -> Storage:
    """Returns the storage of an existing folder, or of gs://bucket/prefix. Raises UsageError for a missing folder."""
    if not path.startswith("gs://") and not os.path.isdir(path):
        raise UsageError(f"{path} is not a folder: name one that holds <label>/<image> or <label>_<image>.")
    return open_storage(path)
