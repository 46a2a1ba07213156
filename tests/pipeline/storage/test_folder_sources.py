"""Files without permission are set aside or named, and never stop the others."""

import os
import pathlib
import shutil
import tempfile

import pytest

from pipeline.data import images, spans
from pipeline.errors import StorageError
from pipeline.outcomes import Rejected
from pipeline.storage.folder import Folder
from tests.conftest import Workspace, jpeg, photographs


@pytest.fixture
def unprivileged():
    """A workspace, and a user without permission for all of it."""
    images.check(jpeg(0))  # imports its modules
    root = pathlib.Path(tempfile.mkdtemp(prefix="unprivileged-"))
    user = os.geteuid()
    if user == 0:
        os.chown(root, 65534, 65534)
        os.seteuid(65534)
    try:
        yield Workspace(root / "workspace")
    finally:
        os.seteuid(user)
        for folder, _, _ in os.walk(root):
            os.chmod(folder, 0o755)
        shutil.rmtree(root)


def test_a_file_that_may_not_be_read_is_set_aside(unprivileged):
    unprivileged.collect(photographs(range(5)))
    (unprivileged.root / "collected/cat/2.jpg").chmod(0)

    prepared = spans.prepare(Folder(str(unprivileged.root)))

    assert (prepared.images, prepared.rejected) == (4, (Rejected("cat/2.jpg", "cannot be read: Permission denied"),))
    assert sorted(os.listdir(unprivileged.root / "rejected/cat")) == ["2.jpg", "2.jpg.reason.txt"]


def test_a_folder_that_may_not_be_read_stays_and_is_named(unprivileged):
    unprivileged.collect(photographs(range(5)))
    (unprivileged.root / "collected/cat").chmod(0)

    for images_left in (2, 0):
        prepared = spans.prepare(Folder(str(unprivileged.root)))

        assert prepared.images == images_left
        assert prepared.rejected == (Rejected("cat", "cannot be read: Permission denied"),)
    (unprivileged.root / "collected/cat").chmod(0o755)
    assert spans.prepare(Folder(str(unprivileged.root))).images == 3


def test_files_that_may_not_be_moved_prevent_publication(unprivileged):
    unprivileged.collect(photographs(range(5)))
    (unprivileged.root / "collected/cat").chmod(0o555)

    with pytest.raises(StorageError, match="cat/0.jpg: Permission denied. Make it accessible to you"):
        spans.prepare(Folder(str(unprivileged.root)))

    assert spans.published(Folder(str(unprivileged.root))) == []
    assert unprivileged.collected() == photographs(range(5))
