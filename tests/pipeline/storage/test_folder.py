"""Listings of a folder from which other processes delete files meanwhile."""

import shutil

from pipeline.storage.folder import Folder
from tests.conftest import put

FILES = {"collected/0.jpg": b"0", "collected/cat/1.jpg": b"1", "collected/dog/2.jpg": b"2"}


def test_a_listed_file_that_is_gone_has_neither_size_nor_generation(tmp_path):
    put(tmp_path, FILES)
    entries = list(Folder(str(tmp_path)).list("collected"))
    (tmp_path / "collected/cat/1.jpg").unlink()

    assert sorted((entry.size, bool(entry.generation)) for entry in entries) == [(0, False), (1, True), (1, True)]


def test_a_listing_with_dates_leaves_out_what_is_gone(tmp_path):
    put(tmp_path, {"reports/a": b"1", "reports/b": b"2"})
    listing = Folder(str(tmp_path)).list_dated("reports")
    assert next(listing).size == 1
    shutil.rmtree(tmp_path / "reports")

    assert list(listing) == []


def test_a_folder_that_is_gone_does_not_stop_the_reading_of_the_others(tmp_path):
    put(tmp_path, FILES)
    sources = Folder(str(tmp_path)).sources("collected", max_bytes=100)
    assert next(sources).name == "0.jpg"
    shutil.rmtree(tmp_path / "collected/cat")

    assert [source.name for source in sources] == ["dog/2.jpg"]
