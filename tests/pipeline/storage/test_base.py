"""The storage interface on a folder and a bucket, and numbered names."""

import io
import itertools
import os

import pytest

from pipeline.errors import StorageError, UsageError
from pipeline.storage.base import Kind, map_in_order, numbered_names, truncated_name
from pipeline.storage.factory import open_folder, open_storage
from tests.conftest import files_in, put
from tests.places import in_a_folder


def test_a_written_file_is_read_listed_and_found(storage, workspace):
    assert storage.write("a/b/c.bin", b"0123456789")

    assert storage.read("a/b/c.bin") == b"0123456789"
    assert storage.read("a/b/c.bin", last=4) == b"6789"
    assert storage.read("a/b/c.bin", last=100) == b"0123456789"
    assert [(entry.name, entry.size) for entry in storage.list("a")] == [("a/b/c.bin", 10)]
    assert storage.folders("a") == ["b"]
    assert storage.exists("a/b/c.bin") and storage.exists("a/b") and not storage.exists("a/c")
    assert storage.address("a/b/c.bin") == f"{workspace.address}/a/b/c.bin"
    assert workspace.read("a/b/c.bin") == b"0123456789"
    copy = io.BytesIO()
    storage.copy_to("a/b/c.bin", copy)
    assert copy.getvalue() == b"0123456789"


def test_a_missing_folder_is_listed_as_empty(storage):
    assert list(storage.list("absent")) == []
    assert storage.folders("absent") == []
    storage.delete("absent")


def test_an_open_file_is_written_like_bytes(storage, tmp_path):
    (tmp_path / "large").write_bytes(b"0123456789" * 300_000)
    with open(tmp_path / "large", "rb") as file:
        assert storage.write("a/large", file, create_only=True)
        file.seek(0)
        assert not storage.write("a/large", file, create_only=True)

    assert storage.read("a/large") == b"0123456789" * 300_000


def test_many_files_are_read_in_order(storage):
    for number in range(20):
        storage.write(f"a/{number}", b"%d" % number)

    assert list(storage.read_each(f"a/{number}" for number in range(20))) == [b"%d" % number for number in range(20)]
    assert list(map_in_order(storage, lambda name: storage.read(f"a/{name}"), "123")) == [
        ("1", b"1"),
        ("2", b"2"),
        ("3", b"3"),
    ]


@in_a_folder
def test_hidden_files_and_links_are_not_listed(storage, workspace, tmp_path):
    storage.write("a/.hidden/b", b"")
    storage.write("a/.c", b"")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "d").touch()
    os.symlink(tmp_path / "outside", workspace.root / "a" / "link")
    os.symlink(tmp_path / "outside" / "d", workspace.root / "a" / "e")

    assert list(storage.list("a")) == []


@in_a_folder
def test_everything_is_listed_with_its_kind(storage, workspace):
    storage.write("a/b/c", b"")
    os.symlink("/nowhere", workspace.root / "a/link")
    os.mkfifo(workspace.root / "a/pipe")

    found = {entry.name: kind for entry, kind in storage.list_all("a")}

    assert found == {"a/b": Kind.FOLDER, "a/b/c": Kind.FILE, "a/link": Kind.LINK, "a/pipe": Kind.SPECIAL}


@in_a_folder
def test_nothing_behind_a_link_in_the_place_of_a_folder_is_listed_written_or_removed(storage, workspace, tmp_path):
    storage.write("here", b"1")
    put(tmp_path, {"outside/b/c": b"the only copy", "outside/d": b"2"})
    os.symlink(tmp_path / "outside", workspace.root / "a")
    verbs = [
        lambda: list(storage.list("a")),
        lambda: list(storage.list("a/b")),
        lambda: storage.folders("a"),
        lambda: list(storage.sources("a", 100)),
        lambda: list(storage.unpublished("a")),
        lambda: list(storage.unpublished_sources("a", 100)),
        lambda: storage.write("a/new", b""),
        lambda: storage.write("a/b/new", b"", create_only=True),
        lambda: storage.delete("a/b/c"),
        lambda: storage.move("a/b/c", "c"),
        lambda: storage.move("here", "a/here"),
        lambda: storage.stage("a", "last").__enter__(),
    ]

    for verb in verbs:
        with pytest.raises(StorageError, match="workspace/a: a link is in the place of a folder. Nothing behind it"):
            verb()

    assert files_in(tmp_path / "outside") == {"b/c": b"the only copy", "d": b"2"}
    storage.delete("a")
    assert files_in(tmp_path / "outside") == {"b/c": b"the only copy", "d": b"2"}


@in_a_folder
def test_the_storage_itself_may_be_a_link(workspace, tmp_path):
    workspace.put({"a/b": b"1"})
    (tmp_path / "link").symlink_to(workspace.root)
    storage = open_storage(str(tmp_path / "link"))

    assert [entry.name for entry in storage.list("a")] == ["a/b"] and storage.write("a/c", b"2")


def test_create_only_does_not_overwrite(storage):
    assert storage.write("a", b"first", create_only=True)
    assert not storage.write("a", b"second", create_only=True)
    assert storage.read("a") == b"first"

    assert storage.write("a", b"third")
    assert storage.read("a") == b"third"


def test_a_deleted_file_is_gone(storage):
    storage.write("c/d", b"1")
    storage.delete("c/d")
    assert not storage.exists("c/d")


def test_a_generation_changes_with_the_file(storage):
    generations = set()
    for content in (b"a", b"bb", b"bb"):
        storage.write("a/file", content)
        generations |= {entry.generation for entry in storage.list("a")}
    assert len(generations) == 3


@in_a_folder
def test_a_listing_is_lazy(storage, monkeypatch):
    for number in range(3):
        storage.write(f"a/{number}/file", b"")
    opened = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))

    next(storage.list("a"))

    assert len(opened) == 2


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_the_storage(storage, name):
    for verb in (storage.read, storage.delete, storage.exists, storage.list, storage.folders, storage.address):
        with pytest.raises(StorageError, match="leave"):
            list(verb(name) or ())
    with pytest.raises(StorageError, match="leave"):
        storage.write(name, b"")


def test_a_missing_file_is_named_in_one_line(storage):
    with pytest.raises(StorageError, match=r"workspace[-\d]*/a: No such (file or directory|file|object)\. \w") as error:
        storage.read("a")
    assert error.value.place == storage.address("a")
    assert "\n" not in str(error.value) and error.value.exit_code == 1


def test_exclusive_lets_one_process_in_at_a_time(storage, caplog):
    import threading

    inside, order = threading.Event(), []

    def second():
        inside.wait(60)
        with storage.exclusive("counting"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with storage.exclusive("counting"):
        inside.set()
        while not caplog.records:
            thread.join(0.01)
        order.append("first")
    thread.join(60)

    assert order == ["first", "second"]
    assert "Another process is counting" in caplog.text
    with storage.exclusive("counting"), storage.exclusive("something else"):
        pass


def test_names_are_numbered_before_their_ending():
    assert list(itertools.islice(numbered_names("a.b/cat_1.tar.gz"), 3)) == [
        "a.b/cat_1.tar.gz",
        "a.b/cat_1.tar-2.gz",
        "a.b/cat_1.tar-3.gz",
    ]
    assert list(itertools.islice(numbered_names("a.b/cat"), 2)) == ["a.b/cat", "a.b/cat-2"]


def test_truncated_names_fit_a_file_system():
    for stem in ("x" * 255, "ß" * 127, os.fsdecode(b"\xff" * 255)):
        assert len(os.fsencode(truncated_name(stem, ".reason.txt"))) <= 255
        assert len(os.fsencode(list(itertools.islice(numbered_names(f"a/{stem}"), 2))[1])) <= 257


def test_open_folder_wants_an_existing_folder(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(UsageError, match=path.name):
            open_folder(str(path))
