"""Storage in a bucket: the number of calls, odd names, and sources that are still to be archived."""

import collections
import itertools

import pytest

from pipeline import plan
from pipeline.config import Config
from pipeline.data import images, reports, spans
from pipeline.data.incoming import collected
from pipeline.outcomes import Metrics, PreparedSpan
from pipeline.packaging.modules import Modules
from pipeline.releases.factory import open_releases
from pipeline.storage.base import HIDDEN
from pipeline.storage.bucket import Bucket
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL, BucketWorkspace, jpeg, photographs, put, report_training


@pytest.fixture
def kind():
    return "bucket"


def calls(cloud) -> collections.Counter:
    """The calls since the last count, by method."""
    found = collections.Counter(asked.method for asked in cloud.asked("storage") if asked.method != "batch")
    cloud.requests.clear()
    return found


def test_a_span_takes_one_read_and_one_move_per_image_and_few_other_calls(cloud, storage, workspace):
    workspace.collect(photographs(range(30)))
    spans.prepare(storage)
    small = calls(cloud)
    workspace.collect(photographs(range(1000, 2230)))

    spans.prepare(storage)

    many = calls(cloud)
    assert many["xml.get"] == 1230
    assert many["objects.move"] == 1230 + 1  # the manifest's
    assert many["objects.list"] == small["objects.list"] + 1  # another page of a thousand
    others = sum(many.values()) - many["xml.get"] - many["objects.move"]
    # the lease, the number, what was published and corrected, its looks, two shards, the manifest
    assert others - many["objects.list"] <= 14 and many["objects.list"] <= 10, many


def test_counting_takes_a_call_per_thousand_images(cloud, storage, workspace):
    workspace.collect({f"cat/{number}.jpg": b"" for number in range(2500)})

    assert collected.count_up_to(storage, 500) == 500
    assert calls(cloud) == {"objects.list": 2, "objects.download": 1}  # the last asks what an evaluation left out
    assert collected.count_up_to(storage, 1500) == 1500
    assert calls(cloud) == {"objects.list": 3, "objects.download": 1}


def test_a_published_image_that_is_not_archived_yet_counts_as_published(cloud, storage, workspace, retry_waits):
    workspace.collect(photographs(range(10)))
    cloud.faults.add(service="storage", method="batch", times=100)
    with pytest.raises(Exception, match="nothing was lost"):
        spans.prepare(storage)
    cloud.faults.clear()
    overwritten, late = {"cat/0.jpg": jpeg(100)}, {"cat/new.jpg": jpeg(101)}
    workspace.collect(overwritten | late)

    assert len(spans.published(storage)) == 1 and len(workspace.collected()) == 11
    assert collected.count_up_to(storage, 100) == 2
    assert {source.name: source.data for source in collected.sources(storage)} == overwritten | late

    prepared = spans.prepare(storage)

    assert (prepared.span, prepared.images, prepared.duplicates) == (2, 2, 0)
    assert set(workspace.files("archive/span-0001/sources")) == set(photographs(range(1, 10)))
    assert set(workspace.files("archive/span-0002/sources")) == {"cat/0.jpg", "cat/new.jpg"}
    assert workspace.collected() == {} and not workspace.files("spans/.archiving")


def test_stages_of_killed_processes_are_cleaned_up(storage, workspace):
    """Two killed processes: one before it published, one after it listed its sources."""
    workspace.put(
        {
            "spans/.preparing/span-0001": b"",
            "spans/span-0001/train/00000.tfrecord": b"a shard",
            "spans/.archiving/span-0002": b"",
        }
    )
    workspace.collect(photographs(range(3)))

    assert spans.prepare(storage).span == 2
    assert {name.split("/")[0] for name in workspace.files("spans")} == {"span-0002"}


def test_rejected_images_are_moved_concurrently(cloud, storage, workspace):
    workspace.collect({f"bird/{number}.jpg": b"no image" for number in range(80)} | photographs(range(2)))

    prepared = spans.prepare(storage)

    assert [bad.name for bad in prepared.rejected] == sorted(f"bird/{number}.jpg" for number in range(80))
    assert len(workspace.rejected()) == 160 and workspace.collected() == {}
    assert calls(cloud)["objects.move"] == 80 + 2 + 1


def test_objects_that_are_no_images_are_treated_as_in_a_folder(storage, workspace, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 2000)
    monkeypatch.setattr(spans, "MOST_BYTES", 2000)
    markers = {"cat/": b"", "": b""}
    hidden = {".part": jpeg(10), "cat/.part": jpeg(11), ".x/cat_1.jpg": jpeg(12), "../cat_1.jpg": jpeg(13)}
    deeper = {"cat/more/1.jpg": jpeg(14), "cat//1.jpg": jpeg(15)}
    large = {"cat/large.jpg": bytes(2001)}
    workspace.collect(photographs(range(3)) | markers | hidden | deeper | large)

    assert collected.count_up_to(storage, 100) == 4
    prepared = spans.prepare(storage)

    assert prepared.images == 3
    assert {bad.name: bad.reason for bad in prepared.rejected} == {
        "cat/more/1.jpg": "a folder inside a label's folder",
        "cat//1.jpg": "a folder inside a label's folder",
        "cat/large.jpg": "larger than 0 MB",
    } | dict.fromkeys(hidden, HIDDEN)
    assert workspace.collected() == markers | hidden
    assert {name: data for name, data in workspace.rejected().items() if not name.endswith(".txt")} == deeper | large


def test_objects_that_are_too_large_or_too_deep_are_not_downloaded(cloud, storage, workspace):
    workspace.collect({"cat/1.jpg": bytes(100), "cat/2.jpg": bytes(5), "cat/x/3.jpg": bytes(5)})

    found = {source.name: (source.data, source.problem) for source in storage.sources("collected", 10)}

    assert found == {
        "cat/1.jpg": (b"", "larger than 0 MB"),
        "cat/2.jpg": (bytes(5), ""),
        "cat/x/3.jpg": (b"", "a folder inside a label's folder"),
    }
    assert calls(cloud)["xml.get"] == 1


@pytest.mark.parametrize("last", ["two\nlines.jpg", "\udcff\udcfe.jpg", "x" * 1200, "ß" * 600])
def test_a_name_that_objects_cannot_have_is_replaced(storage, workspace, last):
    for content in (b"1", b"2"):
        assert storage.write(f"a/{last}", content, create_only=content == b"1")

    assert storage.read(f"a/{last}") == b"2" and storage.exists(f"a/{last}")
    assert not storage.exists(f"a/{last[:-1]}")
    ((name, data),) = workspace.files("a").items()
    assert data == b"2" and len(storage.object(f"a/{last}").encode()) <= 1024
    assert storage.address(f"a/{last}") == f"{workspace.address}/a/{name}"


def test_a_name_that_becomes_too_long_in_the_archive_is_truncated(storage, workspace):
    room = 1024 - len(storage.object("collected/cat/"))
    long = {f"cat/{'x' * (room - 5)}{number}.jpg": jpeg(number) for number in (1, 2)}
    workspace.collect(long)

    assert spans.prepare(storage).images == 2
    assert sorted(workspace.archived().values()) == sorted(long.values()) and workspace.collected() == {}


def test_a_folder_is_collected_concurrently(cloud, storage, workspace, tmp_path):
    put(tmp_path / "mine", photographs(range(70)) | {"cat/bad.jpg": b"no image"})

    added = collected.add(storage, str(tmp_path / "mine"))

    assert (added.images, added.duplicates, len(added.rejected)) == (70, 0, 1)
    assert workspace.collected() == photographs(range(70))
    calls(cloud)
    assert collected.add(storage, str(tmp_path / "mine")).duplicates == 70


def test_images_can_come_from_a_bucket(cloud, storage, workspace):
    cloud.gcs.store.create_bucket("others", cloud.project)
    for name, data in photographs(range(5)).items():
        cloud.gcs.put(f"gs://others/images/{name}", data)

    prepared = spans.import_folder(storage, "gs://others/images")

    assert (prepared.span, prepared.images) == (1, 5)
    assert len(cloud.gcs.names("gs://others/images/")) == 5


def test_a_whole_bucket_can_be_a_workspace(cloud, storage):
    cloud.gcs.store.create_bucket("mine", cloud.project)
    cloud.gcs.put("gs://mine/collected/cat_1.jpg", jpeg(1))
    whole = open_storage("gs://mine")

    assert spans.prepare(whole).images == 1
    assert whole.folders("") == ["archive", "numbers", "spans"] and whole.address("a") == "gs://mine/a"


@pytest.mark.parametrize("failure", ["503", "cut"])
def test_each_call_of_a_report_fails_once(cloud, workspace, failure, retry_waits):
    for nth in itertools.count(1):
        place = Bucket(f"{workspace.address}-{nth}")
        fault = cloud.faults.add(service="storage", nth=nth, kind=failure)
        report_training(place, [nth])
        found = reports.trainings(place)
        cloud.faults.clear()
        assert [report.outcome.spans for report in found] == [(nth,)]
        if not fault.done:
            break
    assert nth > 4


def test_each_call_of_a_retraining_fails_once(cloud, workspace, tmp_path, retry_waits):
    """Every call of storage in `retrain`, in its order; TFX in between makes none.

    The work is done and the answer is lost, which is the worst; other failures are tried on each part by itself.
    """
    put(tmp_path / "model", {"saved_model.pb": EMPTY_MODEL})
    modules = Modules("modules.classification", "9d", "")
    first, new = photographs(range(113, 119)), photographs(range(4))

    def release(config: Config, planned: plan.Plan) -> str:
        releases = open_releases(config.releases)
        if planned.current:
            releases.fetch(releases.get(planned.current), str(tmp_path / "current" / config.workspace[-12:]))
        details = {name: getattr(planned, name) for name in ("identity", "commit", "spans", "labels")}
        made = releases.publish(
            str(tmp_path / "model"), modules_digest="", metrics=Metrics(), previous=planned.current or None, **details
        )
        assert made.tag in releases.tags()
        return made.tag

    def retrain(config: Config) -> tuple[PreparedSpan, str]:
        storage = open_storage(config.workspace)
        with storage.exclusive("retraining"):
            assert plan.span_to_retrain(storage) is not None
            prepared = spans.prepare(storage)
            with storage.exclusive("training"):
                assert plan.newest_is_untrained(storage)
                planned = plan.training(config, "all", modules, "c0ffee")
                examples = [
                    e for span in spans.published(storage) for split in ("train", "eval") for e in span.examples(split)
                ]
                assert len(examples) == 10
                tag = release(config, planned)
                report_training(storage, planned.spans, tag)
        return prepared, tag

    workspace.collect(first)
    spans.prepare(open_storage(workspace.address))
    before = Config(workspace=workspace.address)
    release(before, plan.training(before, "all", modules, "c0ffee"))
    workspace.collect(new)
    for nth in itertools.count(1):
        found = BucketWorkspace(cloud, f"{workspace.address}-{nth}")
        config = Config(workspace=found.address)
        found.put(workspace.files())
        fault = cloud.faults.add(service="storage", nth=nth, kind="lose")
        prepared, tag = retrain(config)
        cloud.faults.clear()
        assert (prepared.span, prepared.images, tag) == (2, 4, "model-2"), nth
        assert not found.unaccounted([*first.values(), *new.values()]) and found.collected() == {}
        assert reports.trained_spans(open_storage(found.address)) == {1, 2}
        assert sorted({name.split("/")[0] for name in found.files("releases")}) == ["model-1", "model-2"]
        assert not [name for name in found.files() if "/." in f"/{name}"], nth
        if not fault.done:
            break
    assert nth > 60


@pytest.mark.parametrize("kind", ["small", "large", "streamed"])
def test_headers_of_responses_stay_with_an_object(cloud, storage, workspace, tmp_path, kind):
    headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=60"}
    data = b"{}" if kind != "large" else b"x" * (8 << 20)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        assert storage.write("pointer.json", file if kind == "streamed" else data, headers=headers)

    written = cloud.gcs.find(f"{workspace.address}/pointer.json")
    assert written.data == data and written.content_type == "application/json"
    assert written.properties["cacheControl"] == "public, max-age=60"
