"""Preparations killed at any moment, and concurrent ones: no image is lost or doubled."""

import contextlib
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from pipeline.data import spans
from pipeline.errors import StorageError
from pipeline.storage import files
from pipeline.storage.base import HIDDEN
from pipeline.storage.folder import Folder
from tests.conftest import Workspace, files_in, jpeg, photographs, put
from tests.killing import Children, killed_at_each_step

PREPARE = """
    import sys
    import simplejpeg
    from pipeline.data import images, preparation, spans
    from pipeline.storage.factory import open_storage

    images.check(open(sys.argv[2], "rb").read())  # imports its modules
    print("ready", flush=True)
    print(spans.prepare(open_storage(sys.argv[1])).span, flush=True)
"""

# Killed after it has taken its number, and before it has published, a process leaves a gap.
NEXT = ("span-0002/sources/", "span-0003/sources/", "span-0004/sources/")


def start(program: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def prepare(workspace: Workspace, image) -> subprocess.Popen:
    """Starts a process that prepares a span on command."""
    process = start(PREPARE, workspace.root, image)
    # not readline(), which may take the span's number along, where communicate() does not find it
    assert os.read(process.stdout.fileno(), len("ready")) == b"ready"
    return process


@pytest.fixture
def kind():
    return "folder"


@pytest.fixture
def image(tmp_path):
    (tmp_path / "image.jpg").write_bytes(jpeg(0))
    return tmp_path / "image.jpg"


@pytest.fixture
def imports(image) -> str:
    """Python that imports all that `spans.prepare` needs."""
    return f"from pipeline.data import images, preparation, spans\nimages.check(open({str(image)!r}, 'rb').read())"


@pytest.fixture
def killed(imports):
    """Prepares a span in copies of a workspace, each killed one step later; returns the copies."""
    with contextlib.ExitStack() as copies:

        def kill(workspace: Workspace) -> list[Workspace]:
            return copies.enter_context(killed_at_each_step(workspace, imports, "spans.prepare"))

        yield kill


def test_killed_at_each_step_in_turn(storage, workspace, killed):
    published, new = photographs(range(100, 102)), photographs(range(3)) | {"dog_3.jpg": jpeg(3)}
    workspace.collect(published)
    spans.prepare(storage)
    copies = {"cat/copy.jpg": jpeg(0), "dog/old.jpg": jpeg(101)}
    workspace.collect(new | copies | {"cat/bad.jpg": b"no image"})
    everything = [*published.values(), *new.values()]

    first = killed(workspace)
    most_claimed = max(first, key=lambda found: len(list(found.root.glob("collected/.preparing/archive/*/**/*.jpg"))))
    again = killed(most_claimed)

    assert len(first) > 60 and len(again) > 60
    for found in first + again:
        for copy in [*found.root.glob("collected/**/copy*.jpg"), *found.root.glob("collected/**/old*.jpg")]:
            copy.unlink()
        assert not found.unaccounted(everything), found.root
        spans.prepare(Folder(str(found.root)))
        assert not found.unaccounted(everything) and found.collected() == {}, found.root
        sources = [data for name, data in found.archived().items() if name.startswith(NEXT)]
        assert sorted(sources) == sorted(new.values())
        assert found.rejected()["cat/bad.jpg"] == b"no image" and len(found.rejected()) == 2


def test_killed_at_random_moments(workspace, imports):
    draw = random.Random(7)
    everything, hit = [], 0
    seconds = math.inf  # of the fastest preparation so far
    with Children(imports, "spans.prepare") as children:
        for attempt in range(24):
            new = photographs(range(attempt * 1000, attempt * 1000 + 150))
            everything += new.values()
            workspace.collect(new)
            child = children.start(workspace.root)
            began = time.monotonic()
            children.go()
            if attempt:
                time.sleep(draw.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            if children.end() == 0:
                seconds = min(seconds, time.monotonic() - began)
            else:
                hit += 1
            assert not workspace.unaccounted(everything)
            if attempt % 6 == 5:
                spans.prepare(Folder(str(workspace.root)))
                assert workspace.collected() == {} and not workspace.unaccounted(everything)
    spans.prepare(Folder(str(workspace.root)))

    assert hit > 10
    assert workspace.collected() == {} and not workspace.unaccounted(everything)
    numbers = [span.number for span in spans.published(Folder(str(workspace.root)))]
    assert numbers == sorted(set(numbers))
    assert sorted(files_in(workspace.root / "archive").values()) == sorted(everything)


def test_four_concurrent_preparations_make_one_span(workspace, image):
    files = photographs(range(400))
    workspace.collect(files)

    processes = [prepare(workspace, image) for _ in range(4)]
    outputs = [process.communicate() for process in processes]

    assert sorted(out.strip() for out, _ in outputs) == ["1", "None", "None", "None"], [err for _, err in outputs]
    assert not workspace.unaccounted(files.values()) and workspace.collected() == {}
    waited = [err for _, err in outputs if err]
    assert all("Another process is preparing a span" in err and err.count("\n") == 1 for err in waited)


def test_a_waiting_process_continues_after_a_kill(workspace, image):
    files = photographs(range(800))
    workspace.collect(files)

    first = prepare(workspace, image)
    while first.poll() is None and not (workspace.root / "collected/.preparing/archive/sources").exists():
        time.sleep(0.001)
    second = prepare(workspace, image)
    first.kill()
    first.communicate()
    out, err = second.communicate()

    assert out.strip() in ("1", "None", "2"), err
    assert not workspace.unaccounted(files.values()) and workspace.collected() == {}


def test_a_source_that_is_moved_back_replaces_no_file(storage, workspace):
    workspace.collect(photographs(range(4)))
    killed = storage.stage("collected", "span.json")
    stage = killed.__enter__()
    for source in storage.sources("collected", 1 << 20):
        stage.claim(source, "sources")
    workspace.collect({"cat/0.jpg": jpeg(100)})  # arrives before the next preparation

    spans.prepare(storage)

    assert sorted(example.image for example in workspace.examples()) == sorted(map(jpeg, (0, 1, 2, 3, 100)))
    names = {source.name for source in spans.published(storage)[0].sources}
    assert names == {"cat/0.jpg", "cat/0-2.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3.jpg"}


def test_a_deleted_folder_is_created_again_for_a_source_that_is_moved_back(storage, workspace):
    workspace.collect({"cat/0.jpg": jpeg(0)})
    with storage.stage("collected", "span.json") as stage:
        for source in storage.sources("collected", 1 << 20):
            stage.claim(source, "sources")
        (workspace.root / "collected/cat").rmdir()

    assert workspace.collected() == {"cat/0.jpg": jpeg(0)}


def test_an_error_moves_every_source_back(storage, workspace):
    workspace.collect(photographs(range(4)))

    def fail(done):
        raise KeyboardInterrupt

    workspace.collect(photographs(range(300)))
    with pytest.raises(KeyboardInterrupt):
        spans.prepare(storage, fail)

    assert workspace.collected() == photographs(range(300))
    assert workspace.archived() == {} and spans.published(storage) == []


def put_in_place_of_the_stage(kind: str, stage: pathlib.Path, outside: pathlib.Path) -> None:
    outside.mkdir()
    (outside / "thesis.txt").write_text("the only copy")
    if kind == "file":
        stage.write_text("notes")
    elif kind == "link":
        stage.symlink_to(outside)
    elif kind == "link to a marked folder":
        (outside / files.MARKER).touch()
        stage.symlink_to(outside)
    else:
        (stage / "train").mkdir(parents=True)
        (stage / "train" / "thesis.txt").write_text("the only copy")


@pytest.mark.parametrize("kind", ["file", "link", "link to a marked folder", "folder"])
def test_a_users_file_folder_or_link_in_the_place_of_the_stage_is_refused_untouched(tmp_path, kind):
    workspace = Workspace(tmp_path / "workspace")
    workspace.collect(photographs(range(5)))
    put_in_place_of_the_stage(kind, workspace.root / "collected/.preparing", tmp_path / "outside")
    before = files_in(tmp_path / "outside") | files_in(workspace.root / "collected")

    for _ in range(2):
        with pytest.raises(StorageError, match="preparing.*Nothing in it was deleted. Move it away"):
            spans.prepare(Folder(str(workspace.root)))

    assert files_in(tmp_path / "outside") | files_in(workspace.root / "collected") == before
    assert (workspace.root / "collected/.preparing").is_symlink() == kind.startswith("link")


def test_nothing_behind_a_link_in_the_place_of_the_stage_is_counted_or_read(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    workspace.collect({"cat/1.jpg": jpeg(1)})
    put(tmp_path / "outside/archive/sources", {"cat/2.jpg": jpeg(2)})
    (workspace.root / "collected/.preparing").symlink_to(tmp_path / "outside")
    storage = Folder(str(workspace.root))

    assert [entry.name for entry in storage.unpublished("collected")] == ["collected/cat/1.jpg"]
    assert [source.name for source in storage.unpublished_sources("collected", 1000)] == ["cat/1.jpg"]


def test_unfinished_files_are_deleted_only_where_they_are_written(tmp_path):
    workspace, outside = Workspace(tmp_path / "workspace"), tmp_path / "outside"
    outside.mkdir()
    workspace.collect(photographs(range(5)))
    old = outside / "0123456789abcdef"
    old.write_text("mine")
    os.utime(old, (0, 0))
    (workspace.root / ".unfinished").symlink_to(outside)

    with pytest.raises(StorageError, match=".unfinished"):
        spans.prepare(Folder(str(workspace.root)))

    assert old.read_text() == "mine"


def test_hidden_files_stay_where_they_are_and_are_named(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    hidden = {".cat_1.jpg": jpeg(1), "cat/.2.jpg.part": jpeg(2), ".album/cat_3.jpg": jpeg(3)}
    workspace.collect(photographs(range(5)) | hidden)

    prepared = spans.prepare(Folder(str(workspace.root)))

    assert {bad.name for bad in prepared.rejected} == {".album", ".cat_1.jpg", "cat/.2.jpg.part"}
    assert {bad.reason for bad in prepared.rejected} == {HIDDEN}
    assert (prepared.images, workspace.collected()) == (5, hidden)
    assert not (workspace.root / "spans/span-0001" / files.MARKER).exists()
