import contextlib
import json
import pathlib

import pytest

from pipeline.batch.evaluation import MOST_NAMED, PAGE, PREDICTIONS, LeftOut, evaluate, new_images, span_images
from pipeline.config import Config
from pipeline.data import digits, reports, spans
from pipeline.data.incoming import collected
from pipeline.errors import NoRelease
from pipeline.outcomes import Metrics
from pipeline.quality.scores import Prediction
from pipeline.releases.factory import releases_of
from pipeline.storage.factory import open_storage
from tests.conftest import EMPTY_MODEL
from tests.pipeline.conftest import plain


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


@pytest.fixture
def pictures():
    return list(digits.images(digits.FIRST, limit=20))


def collect(storage, pictures, prefix=""):
    for name, image in pictures:
        label, _, last = name.partition("/")
        storage.write(f"collected/{label}/{prefix}{last}", image)


def test_collected_images_are_read_with_their_labels(storage, pictures):
    collect(storage, pictures)
    storage.write("collected/7_flat.png", pictures[0][1] + b"\0")

    found = {(image.name, image.label, image.image) for image in new_images(storage, LeftOut())}

    expected = {(name, name.partition("/")[0], image) for name, image in pictures}
    assert found == expected | {("7_flat.png", "7", pictures[0][1] + b"\0")}


def test_the_same_bytes_are_evaluated_once_and_those_in_a_span_not_at_all(storage, pictures):
    collect(storage, pictures[:8])
    spans.prepare(storage)
    collect(storage, pictures[:5], "published-")
    collect(storage, pictures[8:])
    collect(storage, pictures[8:11], "again-")
    left_out = LeftOut()

    found = list(new_images(storage, left_out))

    assert sorted(image.image for image in found) == sorted(image for _, image in pictures[8:])
    assert (left_out.in_spans, left_out.duplicates, left_out.unusable) == (5, 3, 0)


def test_the_same_bytes_under_two_labels_count_for_neither(tmp_path, bright_or_dark, publish_pair):
    config = Config(workspace=str(tmp_path / "workspace"), device_accuracy_threshold=0)
    storage = open_storage(config.workspace)
    publish_pair(releases_of(config))
    for name, brightness in (("dark/1", 10), ("dark/2", 20), ("dark/3", 250), ("bright/4", 10), ("dark/5", 10)):
        storage.write(f"collected/{name}.png", plain(brightness))

    outcome = evaluate(config, 0, open_predictor=certain_of_dark)

    assert (outcome.images, outcome.accuracy, outcome.duplicates) == (2, 1.0, 0)
    assert (outcome.device.accuracy, outcome.device.agreement) == (0.5, 0.5)
    assert sorted((one.name, one.label, one.span, one.there) for one in outcome.conflicts) == [
        ("bright/4.png", "bright", None, "dark"),
        ("dark/1.png", "dark", None, "bright"),
        ("dark/5.png", "dark", None, "bright"),
    ]
    predictions = storage.read(outcome.report.removeprefix(f"{config.workspace}/").replace(PAGE, PREDICTIONS))
    assert [json.loads(line)["name"] for line in predictions.splitlines()] == ["dark/2.png", "dark/3.png"]
    assert collected.count_up_to(storage, 10) == 2  # the others wait for a decision, not for an evaluation


def test_where_all_images_came_under_two_labels_nothing_is_evaluated(tmp_path, bright_or_dark, publish_pair):
    config = Config(workspace=str(tmp_path / "workspace"))
    storage = open_storage(config.workspace)
    publish_pair(releases_of(config))
    for name in ("bright/1", "dark/2"):
        storage.write(f"collected/{name}.png", plain(10))

    outcome = evaluate(config, 0.5, open_predictor=certain_of_dark)

    assert (outcome.images, outcome.accuracy, outcome.report, len(outcome.conflicts)) == (0, None, None, 2)
    assert not outcome.should_retrain


def test_what_cannot_be_used_is_counted_named_and_left_where_it_is(storage, pictures):
    collect(storage, pictures)
    for number in range(MOST_NAMED + 10):
        storage.write(f"collected/7/broken-{number}.jpg", b"no image")
    storage.write("collected/readme", b"no label")
    left_out = LeftOut()

    assert len(list(new_images(storage, left_out))) == len(pictures)

    assert left_out.unusable == MOST_NAMED + 11
    assert len(left_out.skipped) == MOST_NAMED
    assert all(skipped.reason for skipped in left_out.skipped)
    assert storage.exists("collected/readme") and storage.exists("collected/7/broken-0.jpg")


def test_the_images_of_a_span_are_read_as_they_were_published(storage, pictures):
    collect(storage, pictures)
    spans.prepare(storage)
    (span,) = spans.published(storage)

    found = [image for split in ("train", "eval") for image in span_images(span, split)]

    expected = sorted((name.partition("/")[0], image) for name, image in pictures)
    assert sorted((image.label, image.image) for image in found) == expected


def test_without_a_release_there_is_nothing_to_evaluate(storage, pictures, tmp_path):
    collect(storage, pictures)

    with pytest.raises(NoRelease, match="python -m ci train") as missing:
        evaluate(Config(workspace=str(tmp_path)), 0.8)
    assert missing.value.releases == str(tmp_path / "releases")


def test_an_evaluation_that_found_nothing_to_evaluate_is_kept_as_one(tmp_path):
    config = Config(workspace=str(tmp_path / "workspace"))
    storage = open_storage(config.workspace)
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(EMPTY_MODEL)
    releases_of(config).publish(
        str(model),
        identity="5e",
        commit="",
        modules_digest="",
        spans=(1,),
        labels=["cat"],
        metrics=Metrics(),
        previous=None,
    )
    storage.write("collected/cat/broken.jpg", b"no picture")

    outcome = evaluate(config, 0.8)

    assert (outcome.images, outcome.unusable, outcome.report) == (0, 1, None)
    kept = reports.newest_evaluation(storage).outcome
    assert kept == outcome and kept.waiting == collected.waiting(storage).digest
    assert collected.count_up_to(storage, 1) == 0


@contextlib.contextmanager
def certain_of_dark(config, release):
    """A Predictor that takes every image for a dark one."""
    yield lambda images: (Prediction(of.name, of.label, of.image, "dark", 1.0) for of in images)


@pytest.mark.parametrize(
    "thresholds, cloud_below, device_below",
    [((0.5, 0.5), False, False), ((0.8, 0.5), True, False), ((0.5, 0.8), False, True)],
)
def test_either_model_below_its_threshold_calls_for_retraining(
    tmp_path, bright_or_dark, publish_pair, thresholds, cloud_below, device_below
):
    """Of four images, the cloud model gets the two dark ones right; the device model these and one of the bright."""
    config = Config(workspace=str(tmp_path / "workspace"), device_accuracy_threshold=thresholds[1])
    storage = open_storage(config.workspace)
    publish_pair(releases_of(config))
    for name, brightness in (("dark/1", 10), ("dark/2", 20), ("bright/3", 250), ("bright/4", 40)):
        storage.write(f"collected/{name}.png", plain(brightness))

    outcome = evaluate(config, thresholds[0], open_predictor=certain_of_dark)

    assert (outcome.accuracy, outcome.device.accuracy, outcome.device.agreement) == (0.5, 0.75, 0.75)
    assert outcome.device.per_label == {"bright": 0.5, "dark": 1.0}
    assert (outcome.below, outcome.device.below) == (cloud_below, device_below)
    assert outcome.should_retrain is (cloud_below or device_below)
    report = reports.newest_evaluation(storage)
    assert report.outcome.device == outcome.device
    folder = pathlib.Path(report.address)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert {line["name"]: line["device"] for line in lines}["bright/3.png"] == "bright"
    assert "Its device model gets 75.0" in (folder / "report.html").read_text()
