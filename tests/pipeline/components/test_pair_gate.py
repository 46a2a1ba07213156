"""The pair that a real training made: counted on the same images, examined, and released together."""

import json

import pytest

from pipeline.quality.pair_gate import Agreement
from pipeline.releases.factory import open_releases


@pytest.fixture(scope="module")
def outcome(trained_pair):
    return trained_pair[1]


@pytest.fixture(scope="module")
def agreement(trained_pair) -> Agreement:
    (written,) = trained_pair[0].glob("pipeline_root/training/PairGate/pair/*/value")
    return Agreement.from_json(json.loads(written.read_text())["agreement"])


def test_both_models_are_counted_on_the_images_that_the_evaluators_saw(outcome, agreement):
    images = outcome.metrics.images

    assert agreement.images == outcome.device.metrics.images == images
    assert agreement.both_right + agreement.only_cloud == round(outcome.metrics.accuracy * images)
    assert agreement.both_right + agreement.only_device == round(outcome.device.metrics.accuracy * images)
    assert outcome.device.agreement == agreement.share and not agreement.not_a_number


def test_a_device_model_is_examined_as_it_ships(outcome):
    device = outcome.device

    assert device.blessed and device.reasons == ()
    assert device.quantization == "fp16" and device.variants["fp16"]["bytes"] == device.bytes > 1000
    assert device.input["shape"] == [1, 32, 32, 3]
    assert 0 < device.milliseconds < 100 and device.machine
    assert device.escalation.accuracy >= outcome.metrics.accuracy - 0.02


def test_one_release_holds_both_models(trained_pair, outcome):
    workspace, _ = trained_pair
    release = open_releases(str(workspace / "releases")).get(outcome.release)
    folder = workspace / "releases" / release.tag

    assert {"model.tar.gz", "model.tflite"} < set(release.files)
    assert (folder / "model.tflite").stat().st_size == release.device.bytes == outcome.device.bytes
    assert release.device.metrics == outcome.device.metrics and release.device.labels == outcome.device.labels
    assert set(release.device.labels) == set(release.labels)
