"""Labelled images become spans: each image in one of them, once."""

import collections
import hashlib
import json
import os
import subprocess
import sys

import pytest

from pipeline.data import span_writer, spans
from pipeline.errors import BrokenSpan, SpanNotFound, StorageError, UsageError
from pipeline.outcomes import PreparedSpan, Rejected
from pipeline.storage.factory import open_storage
from pipeline.storage.folder import Folder
from tests.conftest import files_in, jpeg, photographs, put
from tests.places import in_a_bucket, in_a_folder


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_collected_images_become_a_span_that_says_what_it_was_made_of(storage, workspace):
    files = photographs(range(40)) | {"dog_one.jpg": jpeg(40)}
    workspace.collect(files)

    prepared = spans.prepare(storage)

    assert prepared == PreparedSpan(span=1, images=41, labels={"cat": 20, "dog": 21})
    examples = workspace.examples()
    assert sorted(example.image for example in examples) == sorted(files.values())
    assert all(example.source == sha256(example.image) and example.span == 1 for example in examples)
    assert {(e.image, e.label) for e in examples} == {(data, name[:3]) for name, data in files.items()}
    assert {name.removeprefix("span-0001/sources/"): data for name, data in workspace.archived().items()} == files
    assert workspace.collected() == workspace.rejected() == {}


def test_span_json_lists_every_source(storage, workspace):
    workspace.collect(photographs(range(30)))
    generation = workspace.generation("collected/cat/2.jpg")
    spans.prepare(storage)

    told = json.loads(workspace.read("spans/span-0001/span.json"))

    assert (told["span"], told["images"], told["labels"]) == (1, 30, {"cat": 15, "dog": 15})
    by_name = {source["name"]: source for source in told["sources"]}
    assert {name: source["sha256"] for name, source in by_name.items()} == {
        name: sha256(data) for name, data in photographs(range(30)).items()
    }
    assert by_name["cat/2.jpg"]["label"] == "cat"
    assert by_name["cat/2.jpg"]["generation"] == generation
    for split, shards in told["shards"].items():
        assert sum(shard["images"] for shard in shards) == [s["split"] for s in told["sources"]].count(split)
        for shard in shards:
            assert len(workspace.read(f"spans/span-0001/{shard['name']}")) == shard["bytes"]


def test_published_spans_tell_of_themselves(storage, workspace):
    assert spans.published(storage) == []
    for number in (1, 2):
        workspace.collect(photographs(range(number * 100, number * 100 + 30)))
        spans.prepare(storage)
    workspace.put({"spans/span-0003/train/00000.tfrecord": b""})

    first, second = spans.published(storage)

    assert (first.number, second.number, first.images, first.labels) == (1, 2, 30, {"cat": 15, "dog": 15})
    assert [(source.sha256, source.label) for source in first.sources] == [
        (sha256(data), name[:3]) for name, data in sorted(photographs(range(100, 130)).items())
    ]
    assert first.digest == sha256(workspace.read("spans/span-0001/span.json")) != second.digest
    assert first.shards("eval") == [f"{workspace.address}/spans/span-0001/eval/00000.tfrecord"]


def test_a_manifest_that_others_have_rewritten_is_still_read(storage, workspace):
    workspace.collect(photographs(range(10)))
    spans.prepare(storage)
    before = spans.published(storage)
    manifest = "spans/span-0001/span.json"
    workspace.put({manifest: json.dumps(json.loads(workspace.read(manifest)), indent=2).encode()})
    workspace.collect(photographs(range(5)))

    assert spans.published(storage) == before
    assert spans.prepare(storage).duplicates == 5


def test_a_manifest_that_cannot_be_read_is_named(storage, workspace):
    workspace.put({"spans/span-0001/span.json": b'{"span": 1'})

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: span.json"):
        spans.published(storage)


def test_labels_without_end_are_told(storage, workspace):
    labels = {f"label {number} of some length, so that many take more than is read at first" for number in range(1200)}
    workspace.collect({f"{label}_{number}.jpg": jpeg(number) for number, label in enumerate(labels)})
    spans.prepare(storage)

    assert set(spans.published(storage)[0].labels) == labels


def test_spans_count_and_sort_by_number(storage, workspace):
    workspace.put({"spans/span-9999/notes.txt": b"", "archive/span-10000/cat/1.jpg": b"", "spans/old/1": b""})
    workspace.collect(photographs(range(3)))

    assert spans.prepare(storage).span == 10001
    assert [span.number for span in spans.published(storage)] == [10001]


def test_about_one_image_in_five_is_for_evaluation_in_every_run(storage, workspace, tmp_path):
    workspace.collect(photographs(range(600)))
    spans.prepare(storage)
    put(tmp_path / "again", workspace.files("archive/span-0001/sources"))
    other = Folder(str(tmp_path / "other"))
    put(tmp_path / "other", {"collected/cat_0.jpg": jpeg(1000)})
    spans.prepare(other)

    spans.import_folder(other, str(tmp_path / "again"))

    first, again = ({s.sha256: s.split for s in spans.published(place)[-1].sources} for place in (storage, other))
    assert first == again
    assert 0.13 < list(first.values()).count("eval") / 600 < 0.27


def test_few_images_may_leave_a_split_without_shards(storage, workspace):
    workspace.collect({"cat_1.jpg": jpeg(1)})
    spans.prepare(storage)

    (span,) = spans.published(storage)

    assert sorted(len(span.shards(split)) for split in ("train", "eval")) == [0, 1]
    assert len(workspace.files("spans/span-0001")) == 2


def test_shards_are_of_bounded_size(storage, workspace, monkeypatch):
    monkeypatch.setattr(span_writer, "SHARD_BYTES", 10_000)
    workspace.collect(photographs(range(60)))
    spans.prepare(storage)

    (span,) = spans.published(storage)

    sizes = [len(data) for name, data in workspace.files("spans/span-0001/train").items()]
    assert len(sizes) > 2 and max(sizes) < 11_000
    assert sorted(example.image for example in workspace.examples()) == sorted(photographs(range(60)).values())


def test_with_nothing_collected_no_span_is_made(storage, workspace):
    assert spans.prepare(storage) == PreparedSpan()
    workspace.collect({"cat/.hidden": b"", ".part": b""})
    assert spans.prepare(storage) == PreparedSpan()
    assert not workspace.files("spans")


def test_without_a_usable_image_no_span_is_made(storage, workspace):
    workspace.collect({"cat/1.jpg": b"", "dog/1.jpg": b"no image"})

    prepared = spans.prepare(storage)

    assert prepared.span is None and len(prepared.rejected) == 2
    assert spans.published(storage) == []
    assert workspace.collected() == {}


@in_a_folder
def test_bad_images_are_set_aside_with_their_reasons_and_the_rest_goes_on(storage, workspace, tmp_path):
    bad = {
        "cat/cut.jpg": (jpeg(50)[:-2], "ends early: no end-of-image marker"),
        "cat/empty.png": (b"", "empty file"),
        "cat/text.png": (b"no image", "neither JPEG nor PNG"),
        "nolabel.jpg": (jpeg(51), "unknown label: the name is neither <label>/<image> nor <label>_<image>"),
    }
    workspace.collect(photographs(range(10)) | {name: data for name, (data, _) in bad.items()})
    (workspace.root / "collected/cat/deeper").mkdir()
    put(tmp_path, {"outside/cat_1.jpg": jpeg(52)})
    os.symlink(tmp_path / "outside", workspace.root / "collected/link")
    os.symlink(tmp_path / "outside/cat_1.jpg", workspace.root / "collected/cat/link.jpg")
    os.mkfifo(workspace.root / "collected/cat/pipe.jpg")

    prepared = spans.prepare(storage)

    assert prepared.images == 10
    reasons = {rejected.name: rejected.reason for rejected in prepared.rejected}
    assert reasons == {name: reason for name, (_, reason) in bad.items()} | {
        "cat/deeper": "a folder inside a label's folder",
        "cat/link.jpg": "not a file; links are not followed",
        "cat/pipe.jpg": "not a file; links are not followed",
        "link": "neither a file nor a folder; links are not followed",
    }
    rejected = workspace.root / "rejected"
    assert all((rejected / f"{name}.reason.txt").read_text() == f"{reason}\n" for name, reason in reasons.items())
    assert all((rejected / name).read_bytes() == data for name, (data, _) in bad.items())
    assert (rejected / "link").is_symlink() and (rejected / "cat/link.jpg").is_symlink()
    assert files_in(tmp_path / "outside") == {"cat_1.jpg": jpeg(52)}
    assert os.listdir(workspace.root / "collected/cat") == []


def test_a_rejected_image_never_takes_the_place_of_another(storage, workspace):
    for data in (b"first", b"second"):
        workspace.collect({"cat/1.jpg": data})
        spans.prepare(storage)

    assert workspace.rejected() == {
        "cat/1.jpg": b"first",
        "cat/1.jpg.reason.txt": b"neither JPEG nor PNG\n",
        "cat/1-2.jpg": b"second",
        "cat/1-2.jpg.reason.txt": b"neither JPEG nor PNG\n",
    }


@in_a_folder
def test_a_file_too_large_to_be_read_is_set_aside(storage, workspace):
    workspace.collect(photographs(range(2)))
    with open(workspace.root / "collected/cat/film.jpg", "wb") as file:
        file.truncate(10 << 30)

    assert spans.prepare(storage).rejected == (Rejected("cat/film.jpg", "larger than 64 MB"),)


@pytest.mark.parametrize(
    "last",
    [
        "with space.jpg",
        "Straße.jpg",
        "a..b",
        "-rf",
        "*",
        "x" * 255,
        "\\",
        "50%25?#",
        '"quoted": "sha256": "' + "a" * 64 + '"',
    ],
)
def test_no_name_is_too_strange(storage, workspace, last):
    see_to_strange_names(storage, workspace, last)


@in_a_folder
@pytest.mark.parametrize("last", ["two\nlines.jpg", os.fsdecode(b"\xff\xfe.jpg")])
def test_no_name_that_only_a_file_can_have_is_too_strange(storage, workspace, last):
    see_to_strange_names(storage, workspace, last)


def see_to_strange_names(storage, workspace, last):
    workspace.collect({f"big cat/{last}": jpeg(1), f"dog_{last[:200]}": jpeg(2), f"dog/{last}": b"no image"})

    prepared = spans.prepare(storage)

    names = {source.name for source in spans.published(storage)[0].sources}
    assert (prepared.images, [bad.name for bad in prepared.rejected]) == (2, [f"dog/{last}"])
    assert names == {f"big cat/{last}", f"dog_{last[:200]}"}
    assert len(workspace.rejected()) == 2
    workspace.collect({f"big cat/{last}": jpeg(1), f"dog/{last}": b"no image"})
    assert spans.prepare(storage).duplicates == 1
    assert len(workspace.rejected()) == 4


def test_the_same_bytes_twice_count_once(storage, workspace):
    workspace.collect({"cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(1), "dog/1.jpg": jpeg(2), "dog/3.jpg": jpeg(1)})

    prepared = spans.prepare(storage)

    assert (prepared.images, prepared.duplicates) == (2, 2)
    assert workspace.archived() == {
        "span-0001/sources/cat/1.jpg": jpeg(1),
        "span-0001/sources/dog/1.jpg": jpeg(2),
        "span-0001/duplicates/cat/2.jpg": jpeg(1),
        "span-0001/duplicates/dog/3.jpg": jpeg(1),
    }


def test_an_image_of_a_published_span_is_archived_with_that_span(storage, workspace):
    for numbers in (range(3), range(10, 13)):
        workspace.collect(photographs(numbers))
        spans.prepare(storage)
    for _ in range(2):
        workspace.collect({"cat/again.jpg": jpeg(10), "dog/again.jpg": jpeg(1)})
        assert spans.prepare(storage) == PreparedSpan(duplicates=2)
    workspace.collect({"cat/again.jpg": jpeg(0), "cat/new.jpg": jpeg(20)})

    assert spans.prepare(storage) == PreparedSpan(span=3, images=1, labels={"cat": 1}, duplicates=1)
    assert {name for name in workspace.archived() if "duplicates" in name} == {
        "span-0001/duplicates/cat/again.jpg",
        "span-0001/duplicates/dog/again.jpg",
        "span-0001/duplicates/dog/again-2.jpg",
        "span-0002/duplicates/cat/again.jpg",
        "span-0002/duplicates/cat/again-2.jpg",
    }
    assert collections.Counter(example.image for example in workspace.examples()).most_common(1)[0][1] == 1


def test_it_is_known_which_span_has_an_image(storage, workspace):
    for numbers in (range(200), range(200, 300)):
        workspace.collect(photographs(numbers))
        spans.prepare(storage)

    known = spans.Known(storage)
    digests = [hashlib.sha256(jpeg(number)).digest() for number in range(301)]

    assert [known.holder(digest) for digest in digests] == [1] * 200 + [2] * 100 + [None]
    almost = digests[5][:-1] + bytes([digests[5][-1] ^ 1])
    assert known.holder(almost) is None
    known.add(almost)
    assert known.holder(almost) == spans.THIS


@pytest.fixture
def meanwhile(workspace, monkeypatch):
    """Prepares a span while `happens(name)` before each image is used, after it was read; returns what came of it."""

    def prepare(happens):
        place = open_storage(workspace.address)
        read = place.sources

        def sources(prefix, most_bytes):
            for source in read(prefix, most_bytes):
                happens(source.name)
                yield source

        monkeypatch.setattr(place, "sources", sources)
        return spans.prepare(place)

    return prepare


def test_images_that_arrive_meanwhile_wait_for_the_next_span(storage, workspace, meanwhile):
    first, late = photographs(range(10)), photographs(range(100, 110))
    workspace.collect(first)
    late |= {name: jpeg(200 + number) for number, name in enumerate(first)}  # among them the names of those claimed

    prepared = meanwhile(
        lambda name: name == "dog/9.jpg" and workspace.collect({n: d for n, d in late.items() if n != name})
    )

    del late["dog/9.jpg"]
    assert prepared.images == 10
    assert sorted(example.image for example in workspace.examples()) == sorted(first.values())
    assert workspace.collected() == late
    assert spans.prepare(storage).images == len(late)


@in_a_folder
@pytest.mark.parametrize("way", ["written again", "another file in its place", "touched", "longer"])
def test_an_image_that_changes_while_it_is_read_stays_collected(storage, workspace, meanwhile, way):
    files = photographs(range(6))
    workspace.collect(files)
    path = workspace.root / "collected/dog/3.jpg"

    def change(name):
        if name != "dog/3.jpg":
            return
        if way == "written again":
            path.write_bytes(jpeg(100))
        elif way == "another file in its place":
            put(workspace.root, {"new": jpeg(100)})
            os.replace(workspace.root / "new", path)
        elif way == "touched":
            os.utime(path)
        else:
            with open(path, "ab") as file:
                file.write(b"more")

    prepared = meanwhile(change)

    assert prepared.images == 5
    content = {"touched": jpeg(3), "longer": jpeg(3) + b"more"}.get(way, jpeg(100))
    assert workspace.collected() == {"dog/3.jpg": content}
    assert "dog/3.jpg" not in {source.name for source in spans.published(storage)[0].sources}
    assert spans.prepare(storage).images == 1


@in_a_bucket
def test_an_image_that_is_overwritten_after_it_was_read_stays_and_what_was_read_is_in_the_span(
    storage, workspace, meanwhile
):
    files = photographs(range(6))
    workspace.collect(files | {"dog/copy.jpg": jpeg(0)})
    mended = {"dog/3.jpg": jpeg(100), "dog/copy.jpg": jpeg(101)}

    prepared = meanwhile(lambda name: name == "dog/5.jpg" and workspace.collect(mended))

    assert prepared.images == 6
    assert sorted(example.image for example in workspace.examples()) == sorted(files.values())
    assert workspace.collected() == mended
    archived = {f"span-0001/sources/{name}": data for name, data in files.items() if name != "dog/3.jpg"}
    assert workspace.archived() == archived
    assert spans.prepare(storage).images == 2 and workspace.collected() == {}


@pytest.mark.parametrize("bad, good", [(b"no image", jpeg(100)), (jpeg(1), jpeg(100))])
def test_a_bad_image_or_duplicate_that_is_mended_meanwhile_stays_collected(workspace, meanwhile, bad, good):
    workspace.collect({"cat/1.jpg": jpeg(1), "dog/3.jpg": bad})

    prepared = meanwhile(lambda name: name == "dog/3.jpg" and workspace.collect({name: good}))

    assert (prepared.images, prepared.rejected) == (1, ())
    assert workspace.collected() == {"dog/3.jpg": good}
    assert workspace.rejected() == {}


@in_a_folder
def test_an_image_that_is_removed_meanwhile_is_in_no_span(workspace, meanwhile):
    workspace.collect(photographs(range(6)))

    prepared = meanwhile(lambda name: name == "dog/3.jpg" and workspace.remove("collected/dog/3.jpg"))

    assert prepared.images == 5
    assert jpeg(3) not in {example.image for example in workspace.examples()}


def test_a_number_that_somebody_takes_meanwhile_is_left_to_them(workspace, meanwhile):
    files = photographs(range(6))
    workspace.collect(files | {"cat/bad.jpg": b"no image"})

    prepared = meanwhile(lambda name: workspace.put({"spans/span-0001/span.json": MANIFEST}))

    assert (prepared.span, prepared.images, len(prepared.rejected)) == (2, 6, 1)
    assert workspace.files("spans/span-0001") == {"span.json": MANIFEST}
    assert workspace.collected() == {}


MANIFEST = b'{"created": "", "images": 0, "labels": {}, "shards": {}, "sources": []}'


def test_a_folder_becomes_a_span_and_stays_as_it_is(storage, workspace, tmp_path):
    files = photographs(range(20)) | {"dog_x.png": b"no image"}
    put(tmp_path / "mine", files)

    prepared = spans.import_folder(storage, str(tmp_path / "mine"))

    assert (prepared.span, prepared.images, len(prepared.rejected)) == (1, 20, 1)
    assert files_in(tmp_path / "mine") == files
    assert workspace.archived() == workspace.collected() == {}
    assert set(workspace.rejected()) == {"dog_x.png", "dog_x.png.reason.txt"}
    again = spans.import_folder(storage, str(tmp_path / "mine"))
    assert (again.span, again.images, again.duplicates) == (None, 0, 20)
    assert len(workspace.rejected()) == 2


def test_nothing_to_import_is_a_wrong_argument(storage, tmp_path):
    (tmp_path / "empty/cat").mkdir(parents=True)
    for name in ("empty", "absent"):
        with pytest.raises(UsageError, match=name):
            spans.import_folder(storage, str(tmp_path / name))


def test_progress_is_told(storage, workspace):
    workspace.collect(photographs(range(450)))
    told = []
    spans.prepare(storage, told.append)
    assert told == [200, 400]


@pytest.mark.parametrize(
    "selection, numbers",
    [
        ("all", (1, 2, 11)),
        ("2,1", (1, 2)),
        ("11", (11,)),
        ("1, 1", (1,)),
        ("latest:2", (2, 11)),
        ("latest:9", (1, 2, 11)),
    ],
)
def test_spans_are_selected_by_number(selection, numbers):
    assert spans.select(selection, PRESENT) == numbers


PRESENT = [spans.Span(number, "", 0, {}, {}, None) for number in (11, 1, 2)]


@pytest.mark.parametrize("selection", ["", "1;2", "latest:0", "latest:", "latest:-1", "first", "-1", "1,", "²", "1-2"])
def test_a_selection_that_says_nothing_is_refused(selection):
    with pytest.raises(UsageError, match="latest:N"):
        spans.select(selection, PRESENT)


def test_a_selection_of_what_is_not_there_names_it():
    with pytest.raises(SpanNotFound, match="Span 3, 7 does not exist, the workspace has 1-2, 11"):
        spans.select("2,3,7", PRESENT)


@in_a_folder
def test_a_full_disk_is_said_and_loses_nothing(workspace):
    files = {f"cat/{number}.jpg": jpeg(number, (200, 200)) for number in range(60)}
    workspace.collect(files)
    program = (
        "import resource, sys\n"
        "from pipeline.data import spans\n"
        "from pipeline.storage.factory import open_storage\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: spans.prepare(open_storage(sys.argv[1]))\n"
        "except Exception as error: sys.exit(f'{type(error).__name__}: {error}')"
    )

    done = subprocess.run([sys.executable, "-c", program, workspace.root], capture_output=True, text=True)

    assert done.returncode == 1
    assert (
        done.stderr.startswith("StorageError: ") and done.stderr.count("\n") == 1 and "nothing was lost" in done.stderr
    )
    assert workspace.collected() == files
    assert workspace.examples() == []
    assert spans.prepare(Folder(str(workspace.root))).images == 60


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system of its own; where that is not allowed, the test is skipped."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip("file systems cannot be mounted here")

    try:
        yield place, mount
    finally:
        subprocess.run(["umount", place], capture_output=True)


def test_on_a_file_system_that_runs_full_everything_is_put_back(mounted):
    place, mount = mounted
    files = {f"cat/{number}.jpg": jpeg(number, (200, 200)) for number in range(120)}
    pages = sum(1 + len(data) // 4096 for data in files.values())
    mount(f"size={pages * 4096 + sum(map(len, files.values())) // 2}")
    put(place / "collected", files)

    with pytest.raises(StorageError, match="No space left on device. Free some space, then run it again"):
        spans.prepare(Folder(str(place)))

    assert files_in(place / "collected") == files
    for name in list(files)[:90]:
        (place / "collected" / name).unlink()
    assert spans.prepare(Folder(str(place))).images == 30


def test_a_read_only_workspace_is_said(mounted):
    place, mount = mounted
    mount("size=1m")
    put(place / "collected", photographs(range(5)))
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)

    with pytest.raises(StorageError, match="Read-only file system. Make it writable, or set WORKSPACE"):
        spans.prepare(Folder(str(place)))
    assert files_in(place / "collected") == photographs(range(5))
    assert spans.published(Folder(str(place))) == []


def test_what_no_evaluation_can_use_is_cleared_away_and_the_rest_stays(storage, workspace):
    workspace.collect(photographs(range(3)))
    spans.prepare(storage)
    workspace.collect(photographs(range(2, 6)) | {"cat/copy.jpg": jpeg(4), "dog/broken.jpg": b"no picture"})

    cleared = spans.clear_collected(storage)

    assert cleared.archived == 1
    assert len(cleared.rejected) == 2 and "dog/broken.jpg" in {bad.name for bad in cleared.rejected}
    left = workspace.collected()
    assert sorted(left.values()) == sorted(jpeg(number) for number in (3, 4, 5))
    reasons = b" ".join(data for name, data in workspace.rejected().items() if name.endswith(".reason.txt"))
    assert b"same bytes" in reasons
    assert spans.clear_collected(storage) == spans.Cleared()
