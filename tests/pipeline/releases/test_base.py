"""Releases are complete or absent, and a model that differs from its record is not used."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile

import pytest

from pipeline.errors import BrokenRelease, ReleaseNotFound, StorageError
from pipeline.outcomes import Escalation, Metrics
from pipeline.releases import archive, given_tags
from pipeline.releases.factory import open_releases
from pipeline.releases.record import DeviceModel, Release
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, Workspace, files_in, put
from tests.devices import INPUT
from tests.places import in_a_bucket, in_a_folder

not_in_a_bucket = pytest.mark.parametrize("kind", ["folder", "github"])

MODEL = {
    "saved_model.pb": EMPTY_MODEL * 2500,
    "variables/variables.index": b"index",
    "assets/labels.txt": b"cat\ndog\n",
}


@pytest.fixture(params=["folder", "bucket", "github"])
def kind(request) -> str:
    return request.param


class GitHubReleased(Workspace):
    """The releases on the local GitHub, as a workspace without anything else."""

    def __init__(self, github):
        self._github = github.releases
        self.releases = f"github:{github.repository}"

    def put(self, files):
        for name, data in files.items():
            _, tag, *file = name.split("/")
            if tag not in self._github.published():
                self._github.add(tag, {})
            if file:
                self._github.put(tag, file[0], data)

    def read(self, name):
        _, tag, file = name.split("/")
        return self._github.published()[tag][file]

    def remove(self, name):
        _, tag, file = name.split("/")
        self._github.remove(tag, file)

    def files(self, folder=""):
        return self._github.published()[folder.removeprefix("releases/")]


@pytest.fixture
def workspace(workspace, kind, request, monkeypatch) -> Workspace:
    if kind != "github":
        return workspace
    github = request.getfixturevalue("cloud").github
    monkeypatch.setenv("GITHUB_TOKEN", github.token(contents="write"))
    return GitHubReleased(github)


@pytest.fixture
def releases(workspace):
    return open_releases(getattr(workspace, "releases", "") or f"{workspace.address}/releases")


DETAILS = {
    "commit": "c0ffee",
    "modules_digest": "9d",
    "spans": (1, 11),
    "labels": ["cat", "dog"],
    "metrics": Metrics(accuracy=0.875),
    "previous": None,
}


@pytest.fixture
def model(tmp_path) -> str:
    put(tmp_path / "model", MODEL)
    return str(tmp_path / "model")


@pytest.fixture
def publish(tmp_path, releases):
    def publish(identity: str, model=MODEL, **details):
        put(tmp_path / identity, model)
        return releases.publish(str(tmp_path / identity), **DETAILS | {"identity": identity} | details)

    return publish


def test_before_the_first_release_there_is_none(releases):
    assert releases.tags() == []
    assert releases.newest() is None
    with pytest.raises(ReleaseNotFound, match="'model-1'") as error:
        releases.get("model-1")
    assert (error.value.tag, error.value.releases) == ("model-1", releases.address)


def test_the_number_of_a_release_that_was_deleted_is_not_given_again(publish, tmp_path):
    storage = open_storage(str(tmp_path / "workspace"))
    given_tags.keep(storage, ["model-4", "model-2"])
    given_tags.keep(storage, ["model-4"])  # another process was faster
    storage.write("numbers/span-0009", b"")
    assert sorted(given_tags.given(storage)) == ["model-2", "model-4"]

    first = publish("first", given=given_tags.given(storage))
    again = publish("first", given=[*given_tags.given(storage), first.tag])

    assert first.tag == "model-5" and again == first


def test_a_release_records_what_made_it(releases, publish, workspace):
    release = publish("first", previous="model-7")

    assert release == releases.get("model-1") == releases.newest()
    record = json.loads(workspace.read("releases/model-1/model.json"))
    assert record == json.loads(json.dumps(dataclasses.asdict(release)))
    assert (record["tag"], record["commit"], record["spans"], record["previous"]) == (
        "model-1",
        "c0ffee",
        [1, 11],
        "model-7",
    )
    assert set(record["files"]) == {"model.tar.gz"} == set(workspace.files("releases/model-1")) - {"model.json"}


def test_a_released_model_is_fetched(releases, publish, tmp_path):
    release = publish("first")

    folder = releases.fetch(release, str(tmp_path / "a/fetched"))

    assert folder == str(tmp_path / "a/fetched")
    assert files_in(tmp_path / "a/fetched") == MODEL


def test_tags_go_by_number_newest_first(releases, publish, workspace):
    for number in range(11):
        publish(f"training {number}")
    others = ("model-99/notes", "model-x/model.json", "old", "model-098/model.json")
    workspace.put({f"releases/{name}": b"" for name in others})

    assert releases.tags()[:3] == ["model-11", "model-10", "model-9"] and len(releases.tags()) == 11
    assert releases.newest().identity == "training 10"


def test_a_folder_without_a_record_keeps_its_number(workspace, publish):
    workspace.put({"releases/model-7/notes": b""})

    assert publish("first").tag == "model-8"


def test_the_same_training_is_released_once(releases, publish):
    first = publish("first")
    publish("second")

    assert publish("first", model={"saved_model.pb": EMPTY_MODEL * 2}) == first
    assert releases.tags() == ["model-2", "model-1"]


def test_the_same_model_gives_the_same_archive(publish, tmp_path):
    first = publish("first")
    for path in (tmp_path / "first").rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)

    assert publish("second").files == first.files


@pytest.mark.parametrize("damage", ["changed", "cut off", "missing"])
def test_a_model_that_differs_from_its_record_is_not_used(releases, publish, workspace, tmp_path, damage):
    release = publish("first")
    archive = "releases/model-1/model.tar.gz"
    data = workspace.read(archive)
    if damage == "missing":
        workspace.remove(archive)
    else:
        workspace.put({archive: data[:-9] if damage == "cut off" else data[:-9] + b"x" + data[-8:]})

    with pytest.raises(BrokenRelease, match="Release model-1 cannot be trusted: .*Delete it") as error:
        releases.fetch(release, str(tmp_path / "fetched"))
    assert error.value.tag == "model-1" and "model.tar.gz" in error.value.reason and error.value.exit_code == 1
    assert not (tmp_path / "fetched").exists()


RECORD = {
    "tag": "model-1",
    "identity": "5e" * 32,
    "commit": "c0ffee",
    "modules_digest": "9d" * 32,
    "spans": [1, 2],
    "labels": ["cat", "dog"],
    "metrics": {"accuracy": 0.875, "images": 8, "per_span": {"1": 1.0, "2": None}, "per_label": {"cat": 0.5}},
    "files": {"model.tar.gz": "ab" * 32, "card.html": "cd" * 32},
    "created": "2026-11-22T12:04:05Z",
    "previous": None,
    "image": "",
    "data": {"1": {"digest": "9d" * 32, "corrections": 2}},
    "device": None,
    "flavour": "tfx",
    "cloud_model": "",
}
SUM = "ab" * 32
DEVICE = {
    "file": "model.tflite",
    "bytes": 1910000,
    "labels": ["dog", "cat"],
    "input": INPUT,
    "quantization": "fp16",
    "metrics": RECORD["metrics"],
    "agreement": 0.9,
    "escalation": {"threshold": 0.6, "escalated": 0.5, "accuracy": 0.875, "curve": [[0, 0, 0.75], [0.6, 0.5, 0.875]]},
}
RECORD_OF_PAIR = RECORD | {"files": RECORD["files"] | {"model.tflite": SUM}, "device": DEVICE}

RECORD_OF_AUTOML = RECORD_OF_PAIR | {
    "files": {"model.tflite": SUM},
    "modules_digest": "",
    "flavour": "automl",
    "cloud_model": "projects/my-project/locations/europe-west1/models/1234@1",
}


def of_pair(**changed) -> dict:
    """The record of a release with a device model, of which fields differ."""
    return {"files": RECORD_OF_PAIR["files"], "device": DEVICE | changed}


NONSENSE = [
    *({"tag": tag} for tag in ("model-2", "../../x", "model-1/../../x", "", 1, None, ["model-1"])),
    *({"identity": identity} for identity in ("", 5, None, "x" * 1001, "two\nlines")),
    *({"commit": commit} for commit in (None, 7, "\x1b[2Jnothing", "5" * 1001)),
    *({"modules_digest": digest} for digest in (None, {}, "9" * 1001)),
    *({"spans": spans} for spans in ("12", [0], [-1], [True], [1.0], ["1"], [1, 1], [10**12], {"1": 1}, None, [[]])),
    *({"labels": labels} for labels in ("cat", [1], [""], ["cat", "cat"], ["a\x00b"], ["x" * 1001], [None], {}, 1)),
    *({"metrics": metrics} for metrics in (None, [], "good", 0.5)),
    *({"metrics": {"accuracy": accuracy}} for accuracy in (1.5, -0.1, "0.9", True, [], 10**400)),
    *({"metrics": {"images": images}} for images in (-1, 0.5, "1", True, None, 10**12)),
    *({"metrics": {"per_span": each}} for each in ([], {"1": 2}, {"x": 1.0}, {"1": "1"}, None)),
    *({"metrics": {"per_label": each}} for each in ([], {"cat": 2}, {"": 1.0}, {"cat": {}}, None)),
    *({"files": files} for files in (None, [], {}, {"card.html": SUM}, {"model.tar.gz": "AB" * 32})),
    *({"files": {"model.tar.gz": SUM, name: SUM}} for name in ("../x", "/x", "a/b", "..", "", "model.json", "c:x")),
    *({"files": {"model.tar.gz": digest}} for digest in (None, 7, "", "ab" * 31, SUM + "\n")),
    *({"created": created} for created in (None, 1764000000, "yesterday", "2026-11-22", "2026-11-22T12:04:05Z ")),
    *({"previous": previous} for previous in ("", "model-0", "../model-1", 1, ["model-1"], False)),
    *({"image": image} for image in (None, 1, [], "x" * 1001)),
    *({"data": data} for data in (None, [], {"x": {"digest": "9", "corrections": 0}}, {"1": None}, {"1": {}})),
    *({"data": {"1": {"digest": "9", "corrections": number}}} for number in (-1, "2", None)),
    *({"device": device} for device in ([], "model.tflite", 1, {}, DEVICE)),  # the last one without a checksum
    *(of_pair(file=name) for name in ("../x", "model.json", "model.tar.gz", None, ["model.tflite"])),
    *(of_pair(bytes=size) for size in (0, -1, 1.5, "1", True, 1 << 40)),
    *(of_pair(labels=labels) for labels in ("cat", ["cat", "cat"], [1], None)),
    *(of_pair(input=INPUT | {"shape": shape}) for shape in ([1, 32, 32], [None, 32, 32, 3], [1, 0, 0, 3], "1")),
    *(of_pair(input=INPUT | {"shape": [1, side, side, 3]}) for side in (4097, 10**9)),
    *(of_pair(input=INPUT | {"range": values}) for values in ([0], ["0", "1"], None, [0, 10**400])),
    *(
        of_pair(input=wrong)
        for wrong in (None, {}, INPUT | {"dtype": ""}, INPUT | {"resize": 5}, INPUT | {"background": [1]})
    ),
    *({"flavour": flavour} for flavour in (None, "", "keras", ["tfx"], "automl")),  # the last one without a model
    *({"cloud_model": model} for model in (None, 1, "../x", "projects/p/locations/l/models/m", "x" * 1001)),
    {"flavour": "automl", "cloud_model": RECORD_OF_AUTOML["cloud_model"]},  # without a device model
    {name: RECORD_OF_AUTOML[name] for name in ("files", "device")},  # of the other flavour, without an archive
    *(of_pair(quantization=kind) for kind in (None, "", 16)),
    *(of_pair(metrics=metrics) for metrics in (None, {"accuracy": 2})),
    *(of_pair(agreement=share) for share in (1.5, "0.9", [0.9])),
    *(of_pair(escalation=wrong) for wrong in (0.5, {}, {"threshold": 2, "escalated": 0, "accuracy": 0})),
    *(
        of_pair(escalation=DEVICE["escalation"] | {"curve": curve})
        for curve in (None, 0.5, [0.5], [[0, 0]], [[0, 0, 2]], [[0, 0, None]], [["0", 0, 0]])
    ),
]
UNREADABLE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"model-1"',
    b"\xff\xfe\xfd",
    b"<html>a page of a proxy</html>",
    b"[" * 100_000,
    b'{"tag": ' * 100_000,
    b'{"tag": "model-1"}',
    json.dumps(RECORD | {"metrics": {"accuracy": float("nan")}}).encode(),
    json.dumps(RECORD | {"metrics": {"images": float("inf")}}).encode(),
    json.dumps(RECORD).replace("0.875", "9" * 5000).encode(),
    json.dumps(RECORD_OF_PAIR).replace("[255, 255, 255]", "[255, 255, 1e999]").encode(),
]


@pytest.mark.parametrize(
    "record",
    [*UNREADABLE, *(json.dumps(RECORD | changed).encode() for changed in NONSENSE)],
    ids=[*(repr(content[:20]) for content in UNREADABLE), *(ascii(changed)[:60] for changed in NONSENSE)],
)
def test_a_record_is_refused_unless_every_field_is_valid(releases, workspace, record):
    workspace.put({"releases/model-1/model.tar.gz": b"x", "releases/model-1/model.json": record})

    with pytest.raises(BrokenRelease) as error:
        releases.newest()

    assert error.value.tag == "model-1" and error.value.reason.startswith("model.json cannot be read")
    assert len(str(error.value)) < 500 and str(error.value).isprintable()


@pytest.mark.parametrize(
    "record", [RECORD, RECORD_OF_PAIR, RECORD_OF_AUTOML], ids=["one model", "two models", "of AutoML"]
)
def test_a_valid_record_is_read(releases, workspace, record):
    content = json.dumps(record | {"field of a later version": 1}).encode()
    workspace.put({"releases/model-1/model.tar.gz": b"x", "releases/model-1/model.json": content})

    assert json.loads(json.dumps(dataclasses.asdict(releases.newest()))) == record


def test_a_release_with_an_unreadable_record_keeps_its_number(publish, workspace):
    publish("first")
    workspace.put({"releases/model-1/model.json": b"{}"})

    assert publish("second").tag == "model-2"


def test_a_record_that_is_too_large_is_not_read(releases, publish, workspace):
    publish("first")
    workspace.put({"releases/model-1/model.json": b" " * (16 << 20) + workspace.read("releases/model-1/model.json")})

    with pytest.raises(BrokenRelease, match="model.json has "):
        releases.newest()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.fixture
def forge(releases, publish, workspace):
    """Replaces a released archive, and its checksum in the record."""

    def forge(members, contents=lambda member: io.BytesIO(), end=b"") -> Release:
        release = publish("first")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("good"), io.BytesIO())
            for member in members:
                tar.addfile(member, contents(member))
        data = packed.getvalue() + end
        workspace.put({"releases/model-1/model.tar.gz": data})
        return dataclasses.replace(release, files={"model.tar.gz": hashlib.sha256(data).hexdigest()})

    return forge


@pytest.fixture
def refused(releases, tmp_path):
    """The reason why an archive is not unpacked; no file of it may be left."""

    def refused(release: Release) -> str:
        with pytest.raises(BrokenRelease) as error:
            releases.fetch(release, str(tmp_path / "a/fetched"))
        assert files_in(tmp_path / "a") == {}
        assert error.value.tag == "model-1" and error.value.reason.startswith("model.tar.gz cannot be unpacked")
        return error.value.reason

    return refused


@pytest.mark.parametrize(
    "member",
    [
        member("../outside"),
        member("a/../../outside"),
        member("/outside"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "../outside"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
        member("disk", tarfile.BLKTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
@not_in_a_bucket
def test_nothing_is_unpacked_outside_its_folder(forge, refused, member):
    assert "would leave the folder" in refused(forge([member]))


@pytest.mark.parametrize(
    "names", [("good",), ("a/b", "a"), ("a", "a/b"), ("./good",), ("a//b",), ("good/b",)], ids=" ".join
)
@in_a_folder
def test_no_file_is_unpacked_over_another(forge, refused, names):
    record = refused(forge([member(name) for name in names]))
    assert "another name of an earlier member" in record or "is a file and a folder" in record


class Zeros(io.RawIOBase):
    def readable(self):
        return True

    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        return len(buffer)


@in_a_folder
def test_an_archive_that_would_fill_the_disk_is_not_unpacked(forge, refused, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_GAIN", 3)
    huge = member("huge")
    huge.size = 4 << 20
    assert "more than 0.0 GB" in refused(forge([huge], lambda _: Zeros()))


@in_a_folder
def test_an_archive_of_too_many_files_is_not_unpacked(forge, refused, monkeypatch):
    monkeypatch.setattr(archive, "MOST_FILES", 50)
    assert "more than 0.1 GB or 50 files" in refused(forge([member(f"{number}") for number in range(50)]))


@pytest.mark.parametrize(
    "name", ["a\0b", "a\nb", "a\x1b[2J", "\udcff", "x" * 251, "/".join(["x" * 100] * 10)], ids=ascii
)
@in_a_folder
def test_a_name_that_no_model_has_is_not_unpacked(forge, refused, name):
    named = member("name")
    named.pax_headers = {"path": name}
    assert "no name of a file in a model" in refused(forge([named]))


@pytest.mark.parametrize(
    "header_type", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
@in_a_folder
def test_an_archive_whose_headers_would_fill_the_memory_is_not_unpacked(forge, refused, header_type):
    header = member("header", header_type)
    header.size = archive.LARGEST_HEADER + 1
    assert "a header of more than 1,048,576 bytes" in refused(forge([header], lambda _: Zeros()))


@in_a_folder
def test_an_attribute_that_is_no_number_is_damage(forge, refused):
    sparse = member("sparse")
    sparse.pax_headers = {"GNU.sparse.map": "1,two"}
    assert "invalid literal" in refused(forge([sparse]))


@in_a_folder
def test_a_damaged_archive_is_not_unpacked(releases, publish, workspace, refused):
    release = publish("first")
    for data in (b"", b"no archive", gzip.compress(b"no archive"), gzip.compress(b"x" * 4096)[:-20]):
        workspace.put({"releases/model-1/model.tar.gz": data})
        refused(dataclasses.replace(release, files={"model.tar.gz": hashlib.sha256(data).hexdigest()}))


def test_files_are_released_beside_the_model(releases, publish, workspace, tmp_path):
    card = {"model-card.html": b"<html>", "plot.svg": b"<svg/>"}

    release = publish("first", attach=lambda release: card | {"tag.txt": release.tag.encode()})

    there = workspace.files("releases/model-1")
    assert {name: there[name] for name in card} == card and there["tag.txt"] == b"model-1"
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in there.items() if name != "model.json"}
    assert dict(release.files) == sums and releases.get("model-1") == release
    releases.fetch(release, str(tmp_path / "fetched"))
    assert files_in(tmp_path / "fetched") == MODEL


@pytest.fixture
def publish_pair(publish, tmp_path):
    """Releases a model for devices, of which nothing but its bytes counts here, beside the other model."""

    def publish_pair(identity: str, data: bytes = b"TFL3") -> Release:
        (tmp_path / "tflite").write_bytes(data)
        device = DeviceModel(
            **DEVICE
            | {
                "bytes": len(data),
                "labels": ("dog", "cat"),
                "metrics": Metrics(accuracy=0.75),
                "escalation": Escalation(0.6, 0.5, 0.875, ((0.0, 0.0, 0.75), (0.6, 0.5, 0.875))),
            }
        )
        return publish(identity, device=device, device_file=str(tmp_path / "tflite"))

    return publish_pair


def test_a_model_for_devices_is_a_file_beside_the_model(releases, publish_pair, workspace, tmp_path):
    release = publish_pair("first")

    assert release == releases.get("model-1")
    assert release.files["model.tflite"] == hashlib.sha256(b"TFL3").hexdigest()
    assert workspace.read("releases/model-1/model.tflite") == b"TFL3"
    releases.fetch_device_model(release, str(tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == b"TFL3"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_that_differs_from_its_record_is_not_fetched(releases, publish_pair, workspace, tmp_path, damage):
    release = publish_pair("first")
    if damage == "missing":
        workspace.remove("releases/model-1/model.tflite")
    else:
        workspace.put({"releases/model-1/model.tflite": b"TFL4"})

    with pytest.raises(BrokenRelease, match="model.tflite"):
        releases.fetch_device_model(release, str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched").exists()


def test_a_device_model_of_another_size_than_recorded_is_not_fetched(releases, publish_pair, tmp_path):
    release = publish_pair("first")
    larger = dataclasses.replace(release, device=dataclasses.replace(release.device, bytes=5))

    with pytest.raises(BrokenRelease, match="model.tflite has 4 bytes, not the 5 in model.json"):
        releases.fetch_device_model(larger, str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched").exists()


def test_a_record_has_the_image_or_none_in_earlier_versions(releases, publish, workspace):
    assert publish("first", image="pipelines@sha256:1a").image == releases.get("model-1").image == "pipelines@sha256:1a"
    record = json.loads(workspace.read("releases/model-1/model.json"))
    del record["image"]
    workspace.put({"releases/model-1/model.json": json.dumps(record).encode()})
    assert releases.get("model-1").image == "" and releases.newest().identity == "first"


def test_two_processes_with_the_same_training_make_one_release(releases, publish, tmp_path):
    """The other process publishes once this one has packed its model."""
    others = []

    def other(release):
        if not others:
            others.append(release)
            with unlocked(releases, tmp_path):
                others.append(publish("same", model={"saved_model.pb": EMPTY_MODEL * 3}))
        return {}

    assert publish("same", attach=other) == others[1]
    assert releases.tags() == ["model-1"]


def test_two_processes_with_different_models_get_two_numbers(releases, publish, workspace, tmp_path):
    others = []

    def other(release):
        if not others:
            others.append(release)
            with unlocked(releases, tmp_path):
                others.append(publish("another"))
        return {"tag.txt": release.tag.encode()}

    assert publish("first", attach=other).tag == "model-2"
    assert releases.tags() == ["model-2", "model-1"]
    assert workspace.files("releases/model-2")["tag.txt"] == b"model-2"
    assert [releases.get(tag).identity for tag in ("model-1", "model-2")] == ["another", "first"]


def test_a_folder_that_is_not_empty_is_refused(releases, publish, tmp_path):
    release = publish("first")
    put(tmp_path / "fetched", {"mine": b""})

    with pytest.raises(StorageError, match="not empty") as error:
        releases.fetch(release, str(tmp_path / "fetched"))
    assert error.value.place == str(tmp_path / "fetched") and files_in(tmp_path / "fetched") == {"mine": b""}


@contextlib.contextmanager
def unlocked(releases, folder):
    """Without locks, on which correctness must not depend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(releases), "_exclusive", lambda self: contextlib.nullcontext())
        patch.setattr(type(releases), "_packing_folder", lambda self: tempfile.TemporaryDirectory(dir=folder))
        yield


KILLED = """
import os, sys
from pipeline.outcomes import Metrics
from pipeline.releases.factory import open_releases
releases, model, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = iter(range(last))
sys.addaudithook(lambda event, _: event != "os.kill" and next(steps, None) is None and os.kill(os.getpid(), 9))
details = dict(commit="", modules_digest="", spans=[1], labels=["cat"], metrics=Metrics(), previous=None)
open_releases(releases).publish(model, identity="first", **details)
"""


@in_a_folder
def test_a_release_killed_while_it_is_published_is_complete_or_absent(releases, publish, workspace, tmp_path):
    put(tmp_path / "model", MODEL)
    outcomes = []
    for last in range(4, 400, 4):
        command = [sys.executable, "-c", KILLED, workspace.root / "releases", tmp_path / "model", str(last)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        outcomes.append((done.returncode, releases.tags()))
        if done.returncode == 0:
            break

    assert outcomes[-1] == (0, ["model-1"])
    assert all(tags in ([], ["model-1"]) for _, tags in outcomes)
    releases.fetch(publish("first"), str(tmp_path / "fetched"))
    assert files_in(tmp_path / "fetched") == MODEL
    assert [name for name in os.listdir(workspace.root / "releases") if name[0] != "."] == ["model-1"]


@in_a_bucket
@pytest.mark.parametrize("failure", ["503", "cut"])
def test_each_call_fails_once_and_there_is_one_release(cloud, workspace, model, tmp_path, failure, retry_waits):
    for nth in itertools.count(1):
        releases = open_releases(f"{workspace.address}/releases-{nth}")
        fault = cloud.faults.add(service="storage", nth=nth, kind=failure)
        release = releases.publish(model, **DETAILS | {"identity": "first"})
        again = releases.publish(model, **DETAILS | {"identity": "first"})
        releases.fetch(releases.newest(), str(tmp_path / f"fetched {nth}"))
        cloud.faults.clear()
        assert release == again and release.tag == "model-1" and files_in(tmp_path / f"fetched {nth}") == MODEL
        names = ("model-1/model.json", "model-1/model.tar.gz")
        assert workspace.files(f"releases-{nth}").keys() == set(names)
        if not fault.done:
            break
    assert nth > 12


@in_a_bucket
def test_an_archive_without_a_record_is_not_a_release_and_keeps_its_number(releases, publish, workspace):
    workspace.put({"releases/model-1/model.tar.gz": b"of a process that was killed"})

    assert releases.tags() == [] and releases.newest() is None
    assert publish("first").tag == "model-2"
    assert releases.tags() == ["model-2"]
