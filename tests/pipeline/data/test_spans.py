"""Labelled images become spans: each image in one of them, once."""

import collections
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from pipeline.data import correcting, exporting, likeness, looks, span_writer, spans, tfrecord
from pipeline.data.incoming import conflicts
from pipeline.data.known import Holder, Known
from pipeline.data.split import split_of
from pipeline.errors import BrokenSpan, SpanNotFound, StorageError, UsageError
from pipeline.outcomes import Conflict, PreparedSpan, Rejected
from pipeline.storage.factory import open_storage
from pipeline.storage.folder import Folder
from tests.conftest import encoded, files_in, jpeg, noise, photographs, put
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


@in_a_folder
@pytest.mark.parametrize("mode, bits", [("RGB", 8), ("I;16", 16)])
def test_images_that_only_tensorflow_reads_become_part_of_a_span(storage, workspace, mode, bits):
    """Pillow refuses a PNG with a wrong checksum in any chunk, and transparency that is not as long as it has to be."""
    size = (16, 16)
    pixels = noise(1, "RGB", size) if bits == 8 else Image.frombytes("I;16", size, bytes(range(256)) * 2)
    png = encoded(pixels, "PNG")
    unread = {
        "cat/text.png": png[:33] + b"\0\0\0\1tEXtx\0\0\0\0" + png[33:],
        "cat/transparency.png": png[:33] + b"\0\0\0\1tRNS\0" + zlib.crc32(b"tRNS\0").to_bytes(4, "big") + png[33:],
    }
    workspace.collect(unread)
    for data in unread.values():
        with pytest.raises(OSError):
            Image.open(io.BytesIO(data)).load()

    prepared = spans.prepare(storage)

    assert (prepared.images, prepared.rejected) == (2, ())


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
    assert len({first.digest, second.digest}) == 2 and len(first.digest) == 64
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
    assert len(workspace.files("spans/span-0001")) == 3  # with span.json and the looks


def test_shards_are_of_bounded_size(storage, workspace, monkeypatch):
    monkeypatch.setattr(span_writer, "SHARD_BYTES", 10_000)
    monkeypatch.setattr(span_writer, "_PIECE_BYTES", 3_000)
    workspace.collect(photographs(range(60)))
    spans.prepare(storage)

    (span,) = spans.published(storage)

    sizes = [len(data) for name, data in workspace.files("spans/span-0001/train").items()]
    assert len(sizes) > 2 and max(sizes) < 11_000
    assert sorted(example.image for example in workspace.examples()) == sorted(photographs(range(60)).values())
    assert sum(1 for split in ("train", "eval") for _ in span.examples(split)) == 60, "each shard has its sha256"


@in_a_folder
def test_looks_taken_in_many_batches_are_those_taken_in_one(storage, tmp_path, monkeypatch):
    put(tmp_path / "mine", photographs(range(30)))
    spans.import_folder(storage, str(tmp_path / "mine"))
    other = Folder(str(tmp_path / "other"))

    monkeypatch.setattr(likeness, "_BATCH", 4)
    spans.import_folder(other, str(tmp_path / "mine"))

    name = f"spans/span-0001/{looks.NAME}"
    assert storage.read(name) == other.read(name) != b""


def test_with_nothing_collected_no_span_is_made(storage, workspace):
    assert spans.prepare(storage) == PreparedSpan()
    workspace.collect({"cat/.hidden": b"", ".part": b""})
    prepared = spans.prepare(storage)
    assert (prepared.span, {bad.name for bad in prepared.rejected}) == (None, {"cat/.hidden", ".part"})
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
    workspace.collect({"cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(1), "dog/1.jpg": jpeg(2), "dog/3.jpg": jpeg(2)})

    prepared = spans.prepare(storage)

    assert (prepared.images, prepared.duplicates) == (2, 2)
    assert workspace.archived() == {
        "span-0001/sources/cat/1.jpg": jpeg(1),
        "span-0001/sources/dog/1.jpg": jpeg(2),
        "span-0001/duplicates/cat/2.jpg": jpeg(1),
        "span-0001/duplicates/dog/3.jpg": jpeg(2),
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

    known = Known(storage, spans.published(storage))
    digests = [hashlib.sha256(jpeg(number)).digest() for number in range(301)]

    held = [known.holder(digest) for digest in digests]
    assert [holder and holder.span for holder in held] == [1] * 200 + [2] * 100 + [None]
    assert [holder.label for holder in held[:300]] == ["cat", "dog"] * 150
    almost = digests[5][:-1] + bytes([digests[5][-1] ^ 1])
    assert known.holder(almost) is None
    known.add(almost, "cat")
    assert known.holder(almost) == Holder(None, "cat", 0)


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
            os.utime(path, (1, 1))  # not now: older kernels give two changes within 10 ms the same time
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
    workspace.collect(files | {"dog/copy.jpg": jpeg(1)})
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
    workspace.collect({"dog/1.jpg": jpeg(1), "dog/3.jpg": bad})

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


def contested(prepared) -> set[tuple]:
    return {(found.name, found.label, found.span, found.there) for found in prepared.conflicts}


def test_the_same_bytes_under_two_labels_are_kept_aside_and_neither_label_is_taken(storage, workspace):
    twice = {"cat/1.jpg": jpeg(1), "dog/2.jpg": jpeg(1), "owl/3.jpg": jpeg(1)}
    workspace.collect({"cat/5.jpg": jpeg(5), "owl/6.jpg": jpeg(6)} | twice)

    prepared = spans.prepare(storage)

    assert (prepared.images, prepared.labels) == (2, {"cat": 1, "owl": 1})
    assert contested(prepared) == {
        ("cat/1.jpg", "cat", None, "dog"),
        ("dog/2.jpg", "dog", None, "cat"),
        ("owl/3.jpg", "owl", None, "cat"),
    }
    kept = workspace.files("conflicts")
    assert {name: data for name, data in kept.items() if not name.endswith(".json")} == twice
    assert json.loads(kept["dog/2.jpg.conflict.json"])["there"] == "cat"
    assert jpeg(1) not in {example.image for example in workspace.examples()}
    assert len(workspace.archived()) == 2 and workspace.collected() == {}
    assert [source.name for source in spans.published(storage)[0].sources] == ["cat/5.jpg", "owl/6.jpg"]


def test_the_bytes_of_a_span_under_another_label_are_kept_aside(storage, workspace, tmp_path):
    workspace.collect(photographs(range(6)))
    spans.prepare(storage)
    workspace.collect({"dog/again.jpg": jpeg(0), "cat/again.jpg": jpeg(0)})
    put(tmp_path / "mine", {"dog/0.jpg": jpeg(0), "cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(2)})

    collected, imported = spans.prepare(storage), spans.import_folder(storage, str(tmp_path / "mine"))

    assert (contested(collected), collected.duplicates, collected.span) == (
        {("dog/again.jpg", "dog", 1, "cat")},
        1,
        None,
    )
    assert contested(imported) == {("dog/0.jpg", "dog", 1, "cat"), ("cat/1.jpg", "cat", 1, "dog")}
    kept = {name for name in workspace.files("conflicts") if name.endswith(".jpg")}
    assert kept == {"dog/again.jpg", "dog/0.jpg", "cat/1.jpg"}
    assert workspace.collected() == {} and len(files_in(tmp_path / "mine")) == 3


def test_an_import_that_names_two_labels_for_the_same_bytes_takes_neither(storage, workspace, tmp_path):
    files = {"cat/1.jpg": jpeg(1), "dog/1.jpg": jpeg(1), "dog/2.jpg": jpeg(2)}
    put(tmp_path / "mine", files)

    for _ in range(2):
        prepared = spans.import_folder(storage, str(tmp_path / "mine"))
        assert contested(prepared) == {("cat/1.jpg", "cat", None, "dog"), ("dog/1.jpg", "dog", None, "cat")}

    assert {name for name in workspace.files("conflicts") if name.endswith(".jpg")} == {"cat/1.jpg", "dog/1.jpg"}
    assert [source.name for span in spans.published(storage) for source in span.sources] == ["dog/2.jpg"]
    assert files_in(tmp_path / "mine") == files


def test_a_conflict_that_was_noted_before_a_kill_is_still_one(storage, workspace):
    workspace.collect({"cat/1.jpg": jpeg(1), "dog/2.jpg": jpeg(2)})
    conflict = Conflict("cat/1.jpg", "cat", None, "dog")
    conflicts.move_all(storage, "collected", {conflict: sha256(jpeg(1))})
    workspace.remove("conflicts/cat/1.jpg")
    workspace.collect({"cat/1.jpg": jpeg(1)})

    assert spans.prepare(storage).labels == {"dog": 1}
    assert workspace.files("conflicts")["cat/1.jpg"] == jpeg(1)


@pytest.mark.parametrize(
    "damaged",
    [
        {"name": "cat/1.jpg", "kept_as": "spans/span-0001/train/1.tfrecord"},
        {"name": "cat/1.jpg", "kept_as": "conflicts/../../elsewhere"},
        {"name": "cat/1.jpg", "kept_as": 5},
        {"name": "../cat/1.jpg", "kept_as": "conflicts/x.jpg"},
        {"name": None},
        [],
        None,
    ],
    ids=str,
)
@in_a_folder
def test_a_damaged_note_of_a_conflict_moves_nothing_elsewhere(storage, workspace, damaged):
    workspace.collect({"cat/1.jpg": jpeg(1)})
    note = damaged | {"sha256": sha256(jpeg(1))} if isinstance(damaged, dict) else damaged
    workspace.put({"conflicts/x.jpg.conflict.json": json.dumps(note).encode()})

    assert spans.prepare(storage).images == 1


def test_copies_of_published_images_are_on_their_side(storage, workspace):
    workspace.collect(photographs(range(60)))
    spans.prepare(storage)
    sides = {source.name: source.split for source in spans.published(storage)[0].sources}
    for number, name in enumerate(sides):
        workspace.collect({name: encoded(noise(int(name[4:-4]), "RGB", (40, 40)), "JPEG", quality=60 + number % 30)})
    prepared = spans.prepare(storage)

    again = {source.name: source.split for source in spans.published(storage)[1].sources}
    assert again == sides
    assert (prepared.images, prepared.near_duplicates, len(prepared.alike)) == (60, 60, 50)
    first = prepared.alike[0]
    assert (first.span, first.there) == (1, first.name)
    shards = {split: [e.source for e in spans.published(storage)[1].examples(split)] for split in ("train", "eval")}
    assert {source.sha256: source.split for source in spans.published(storage)[1].sources} == {
        digest: split for split, digests in shards.items() for digest in digests
    }


def test_copies_that_come_at_once_are_on_one_side_whatever_their_names(workspace, tmp_path):
    originals = {f"{number:02d}": noise(number, "RGB", (32, 32)) for number in range(40)}
    files = {}
    for name, image in originals.items():
        for copy, quality in enumerate((95, 70, 50)):
            files[f"cat/{copy}-{name}.jpg"] = encoded(image, "JPEG", quality=quality)
    splits = []
    for order in (
        {name: data for name, data in files.items()},
        {f"cat/{name[6:8]}-{name[4]}.jpg": data for name, data in files.items()},
    ):
        place = tmp_path / f"order-{len(splits)}"
        put(place / "mine", order)
        other = Folder(str(place / "workspace"))
        spans.import_folder(other, str(place / "mine"))
        splits.append({source.sha256: source.split for source in spans.published(other)[0].sources})

    assert splits[0] == splits[1]
    for name in originals:
        assert len({splits[0][sha256(files[f"cat/{copy}-{name}.jpg"])] for copy in range(3)}) == 1
    assert {"train", "eval"} == set(splits[0].values())


def test_images_of_one_group_are_on_one_side_in_every_span(storage, workspace):
    def group_of(name: str) -> str:
        return str(int(name[4:-4]) % 7)

    for begin in (0, 50):
        workspace.collect(photographs(range(begin, begin + 50)))
        spans.prepare(storage, group_of=group_of)

    sides = collections.defaultdict(set)
    for span in spans.published(storage):
        for source in span.sources:
            assert source.group == group_of(source.name)
            sides[source.group].add(source.split)
    assert len(sides) == 7 and all(len(side) == 1 for side in sides.values())


def test_a_label_has_images_for_training_if_it_has_any(storage, workspace):
    evaluated = [number for number in range(400) if split_of(sha256(jpeg(number))) == "eval"]
    workspace.collect({f"rare/{number}.jpg": jpeg(number) for number in evaluated[:3]} | photographs(range(500, 520)))
    spans.prepare(storage)
    workspace.collect({"rare/another.jpg": jpeg(evaluated[3])})
    spans.prepare(storage)

    first, second = spans.published(storage)
    assert sorted(source.split for source in first.sources if source.label == "rare") == ["eval", "eval", "train"]
    assert [source.split for source in second.sources] == ["eval"]


def test_a_label_whose_images_for_evaluation_join_others_gets_some_back(storage, workspace):
    alone = [number for number in range(700) if split_of(sha256(jpeg(number))) == "train"]
    images = {f"{label}/{number}.jpg": jpeg(number) for label in range(8) for number in alone[label::8][:4]}
    for label in range(8):
        for quality in range(40, 96, 5):
            copy = io.BytesIO()
            noise(800 + label, "RGB", (32, 32)).save(copy, "JPEG", quality=quality)
            images[f"{label}/copy-{quality}.jpg"] = copy.getvalue()
    workspace.collect(images)
    spans.prepare(storage)

    (span,) = spans.published(storage)
    sides = collections.Counter((source.label, source.split) for source in span.sources)
    assert len(sides) == 16


def test_looks_are_made_once_for_spans_without(storage, workspace):
    workspace.collect(photographs(range(30)))
    spans.prepare(storage)
    before = workspace.read(f"spans/span-0001/{looks.NAME}")
    manifest = json.loads(workspace.read("spans/span-0001/span.json"))
    sides = {source["name"]: source["split"] for source in manifest["sources"]}
    del manifest["files"]
    workspace.remove(f"spans/span-0001/{looks.NAME}")
    workspace.put({"spans/span-0001/span.json": json.dumps(manifest).encode()})
    workspace.collect({name: encoded(noise(int(name[4:-4]), "RGB", (32, 32)), "PNG") for name in sides})

    spans.prepare(storage)

    assert {source.name: source.split for source in spans.published(storage)[1].sources} == sides
    assert len(workspace.read(f"spans/span-0001/{looks.NAME}")) == len(before)


def test_a_number_is_never_given_twice(storage, workspace):
    for number in (1, 2):
        workspace.collect(photographs(range(number * 10, number * 10 + 3)))
        spans.prepare(storage)
    for folder in ("spans", "archive"):
        for name in workspace.files(f"{folder}/span-0002"):
            workspace.remove(f"{folder}/span-0002/{name}")
    if isinstance(storage, Folder):
        shutil.rmtree(workspace.root / "spans/span-0002")
        shutil.rmtree(workspace.root / "archive/span-0002")
    workspace.collect(photographs(range(90, 93)))

    assert spans.prepare(storage).span == 3


@pytest.mark.parametrize(
    "folder, message",
    [
        ("span-00001", "span-00001 cannot be used: the folder of span 1 is called span-0001"),
        ("span-0", "with a number of at most"),
        ("span--1", "with a number of at most"),
        ("span-0001 ", "with a number of at most"),
        ("span-٠٠٠١", "with a number of at most"),
        ("span-1", "the folder of span 1 is called span-0001"),
        ("span-9223372036854775808", "with a number of at most 9223372036854775807"),
        (
            "span-" + "9" * 240,
            r"span-9{27}\.\.\. \(245 characters\) cannot be used: a span's folder is called span-0001",
        ),
    ],
)
def test_a_number_in_another_form_is_named(storage, workspace, folder, message):
    workspace.put({f"spans/{folder}/span.json": MANIFEST})

    with pytest.raises(BrokenSpan, match=message):
        spans.published(storage)
    workspace.remove(f"spans/{folder}/span.json")
    assert spans.published(storage) == []


@pytest.mark.parametrize("selection", ["9" * 250, "latest:" + "9" * 250, "1," + "9" * 5000])
def test_a_selection_beyond_all_numbers_is_refused(selection):
    with pytest.raises(UsageError):
        spans.select(selection, [])


@pytest.mark.parametrize(
    "damaged",
    [
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"sources": []}',
        MANIFEST.replace(b'"labels": {}', b'"labels": []'),
        MANIFEST.replace(b'"labels": {}', b'"labels": {"cat": null}'),
        MANIFEST.replace(b'"shards": {}', b'"shards": {"train": [{"name": "../../x.tfrecord"}]}'),
        MANIFEST.replace(b'"shards": {}', b'"shards": {"train": 1}'),
        MANIFEST.replace(b'"images": 0', b'"images": "0"'),
        MANIFEST.replace(b'"images": 0', b'"images": 5'),
        MANIFEST.replace(b'"images": 0', b'"images": false'),
        MANIFEST.replace(b'"labels": {}', b'"labels": {"cat": -5, "dog": 5}'),
        b'{"files": [], ' + MANIFEST[1:],
        b'{"files": {"looks-1.bin": 1}, ' + MANIFEST[1:],
        b'{"erased": 5, ' + MANIFEST[1:],
        b"[" * 200_000,
        b"\0" * 200_000,
        b'{"span": 2, ' + MANIFEST[1:],
    ],
)
@in_a_folder
def test_a_damaged_manifest_is_named(storage, workspace, damaged):
    workspace.put({"spans/span-0001/span.json": damaged})

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: span.json"):
        spans.published(storage)


@pytest.mark.parametrize(
    "damaged",
    [
        {"sha256": 5},
        {"sha256": "zz"},
        {"sha256": "AB" * 32},
        {"original": "zz"},
        {"label": None},
        {"name": ["a"]},
        {"generation": 5},
        {"group": 5},
        {"split": "test"},
        {"split": None},
        "text",
        None,
    ],
    ids=str,
)
@in_a_folder
def test_damaged_sources_are_named(storage, workspace, tmp_path, damaged):
    workspace.collect(photographs(range(6)))
    spans.prepare(storage)
    found = json.loads(workspace.read("spans/span-0001/span.json"))
    if damaged is None:
        del found["sources"][0]
    else:
        found["sources"][0] = found["sources"][0] | damaged if isinstance(damaged, dict) else damaged
    workspace.put({"spans/span-0001/span.json": json.dumps(found).encode()})
    workspace.collect(photographs(range(20)))
    (span,) = spans.published(storage)

    for reads in (
        lambda: spans.prepare(storage),
        lambda: exporting.export(span, None, Folder(str(tmp_path / "out"))),
        lambda: correcting.withdraw(storage, ["cat/0.jpg"], "not ours"),
    ):
        with pytest.raises(BrokenSpan, match="span-0001 cannot be used: span.json lists"):
            reads()


@in_a_folder
def test_an_image_that_span_json_does_not_list_is_named(storage, workspace, tmp_path):
    workspace.collect(photographs(range(6)))
    spans.prepare(storage)
    manifest = workspace.read("spans/span-0001/span.json")
    workspace.put({"spans/span-0001/span.json": manifest.replace(sha256(jpeg(0)).encode(), b"5e" * 32)})
    workspace.collect({"cat/again.jpg": encoded(noise(0, "RGB", (32, 32)), "PNG")})

    for reads in (
        lambda: exporting.export(spans.published(storage)[0], None, Folder(str(tmp_path / "out"))),
        lambda: spans.prepare(storage),
    ):
        with pytest.raises(BrokenSpan, match="span-0001 cannot be used: span.json does not list an image that"):
            reads()


def damage(workspace, how) -> None:
    name = "spans/span-0001/train/00000.tfrecord"
    data = workspace.read(name)
    if how == "missing":
        workspace.remove(name)
    else:
        forged = io.BytesIO()
        tfrecord.append(forged, jpeg(99), "cat", 1, sha256(jpeg(99)))
        workspace.put(
            {name: {"cut off": data[:-9], "empty": b"", "text": b"no records", "forged": forged.getvalue()}[how]}
        )


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{}", b"null", b"[" * 200_000])
@in_a_folder
def test_damaged_checksums_are_named(storage, workspace, damaged):
    workspace.collect(photographs(range(6)))
    spans.prepare(storage)
    manifest = json.loads(workspace.read("spans/span-0001/span.json"))
    for shards in manifest["shards"].values():
        for shard in shards:
            del shard["sha256"]
    workspace.put(
        {
            "spans/span-0001/span.json": json.dumps(manifest).encode(),
            "spans/span-0001/checksums.json": damaged,
        }
    )

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: checksums.json cannot be read"):
        list(spans.published(storage)[0].examples("train"))


@pytest.mark.parametrize("how", ["missing", "cut off", "empty", "text", "forged"])
def test_a_shard_that_is_not_what_was_published_is_named(storage, workspace, how):
    workspace.collect(photographs(range(30)))
    spans.prepare(storage)
    (span,) = spans.published(storage)
    assert len(list(span.examples("train"))) + len(list(span.examples("eval"))) == 30

    damage(workspace, how)

    with pytest.raises(BrokenSpan, match="span-0001 cannot be used: train/00000.tfrecord is"):
        list(span.examples("train"))


def test_shards_of_a_span_without_checksums_are_accepted_once(storage, workspace, caplog):
    workspace.collect(photographs(range(30)))
    spans.prepare(storage)
    manifest = json.loads(workspace.read("spans/span-0001/span.json"))
    for shards in manifest["shards"].values():
        for shard in shards:
            del shard["sha256"]
    workspace.put({"spans/span-0001/span.json": json.dumps(manifest).encode()})

    for _ in range(2):
        assert len(list(spans.published(storage)[0].examples("train"))) > 10

    assert [record.message[:9] for record in caplog.records] == ["span-0001"]
    damage(workspace, "forged")
    with pytest.raises(BrokenSpan, match="is not the file that was published"):
        list(spans.published(storage)[0].examples("train"))
