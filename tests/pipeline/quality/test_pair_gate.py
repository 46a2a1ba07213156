"""What a cloud model and a device model need together."""

import dataclasses
import math

import pytest

from pipeline.config import Config
from pipeline.outcomes import Escalation
from pipeline.quality import pair_gate
from pipeline.quality.pair_gate import Agreement, DeviceFile, Difference, PairRequirements

NEEDED = PairRequirements(agreement=0.8, margin=0.02, loss=0.02, megabytes=20, milliseconds=100)
FILE = DeviceFile(
    bytes=1_910_000,
    shape=(1, 32, 32, 3),
    operators=("CONV_2D", "SOFTMAX"),
    problem="",
    milliseconds=0.26,
    machine="a processor",
    repeated=0.0,
)


def agreement(images: int, **counts: int) -> Agreement:
    """Both models take this many images for a cat, which they are, but for those that `counts` name."""
    found = Agreement()
    given = {
        "device_wrong": ("cat", "dog", "dog"),
        "cloud_wrong": ("dog", "cat", "cat"),
        "both_wrong": ("dog", "dog", "dog"),
        "converted_wrong": ("cat", "dog", "cat"),
    }
    cases = [labels for name, labels in given.items() for _ in range(counts.get(name, 0))]
    cases += [("cat", "cat", "cat")] * (images - len(cases))
    for number, (cloud, device, before) in enumerate(cases):
        found.add(Difference(f"{number:03}", "cat", cloud, device, number / 100, 0.9), before)
    return found


def test_a_good_pair_is_blessed():
    assert pair_gate.reasons(agreement(100, device_wrong=3), FILE, NEEDED) == []


def test_images_are_counted_by_which_model_is_right():
    found = agreement(100, device_wrong=5, cloud_wrong=3, both_wrong=2, converted_wrong=1)

    assert (found.images, found.both_right, found.only_cloud, found.only_device) == (100, 89, 6, 3)
    assert found.agreeing == 91 and found.share == 0.91
    assert found.interval[0] < 0.91 < found.interval[1]
    assert found.matrix == {("cat", "cat"): 89, ("cat", "dog"): 6, ("dog", "cat"): 3, ("dog", "dog"): 2}
    assert (found.conversion.right, found.lost, found.gained, found.changed) == (92, 1, 0, 1)
    assert len(found.differences) == 9
    assert [of.source for of in found.differences[:2]] == ["010", "007"]  # the most confident ones first


def test_without_a_setting_a_pair_has_to_agree_as_often_as_unrelated_models():
    """Accuracies of 75 and 65 %: unrelated models are right together for 49 % of the images, these for 60 or 40 %."""
    needed = dataclasses.replace(NEEDED, agreement=None)
    related = agreement(1000, device_wrong=150, cloud_wrong=50, both_wrong=200)
    opposed = agreement(1000, device_wrong=350, cloud_wrong=250)

    assert related.by_chance == opposed.by_chance == pytest.approx(0.75 * 0.65)
    assert pair_gate.reasons(related, FILE, needed) == []
    (reason,) = pair_gate.reasons(opposed, FILE, needed)
    assert reason.endswith("certainly below what unrelated models of their accuracies reach, 48.8\u202f%")
    assert pair_gate.reasons(agreement(0), FILE, needed) == []


@pytest.mark.parametrize("differing, refused", [(20, False), (27, False), (29, True)])
def test_a_pair_that_certainly_agrees_on_too_few_images_is_refused(differing, refused):
    found = pair_gate.reasons(agreement(100, device_wrong=differing), FILE, NEEDED)

    assert bool(found) is refused
    if refused:
        assert found == [
            "both models give the same label to 71 of 100 images (95 % interval: 61.5\u202f% to 79.0\u202f%), certainly"
            " below the DEVICE_AGREEMENT 80\u202f%"
        ]


def test_a_conversion_that_costs_accuracy_is_refused():
    assert pair_gate.reasons(agreement(100, converted_wrong=10), FILE, NEEDED) == [
        "conversion: 90 of 100 right, 100 before it: worse than chance explains (10 lost, 0 gained)"
    ]
    assert pair_gate.reasons(agreement(100, converted_wrong=2), FILE, NEEDED) == []


def test_what_is_no_number_is_refused():
    found = agreement(99)
    found.add(Difference("1", "cat", "cat", "cat", 0.9, math.nan), "cat")

    assert pair_gate.reasons(found, FILE, NEEDED) == ["for 1 of 100 images the converted model gives no number"]


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"bytes": 27_700_000}, "file has 27.70 MB, more than DEVICE_MEGABYTES (20)"),
        ({"milliseconds": 130.0}, "takes 130.0 ms for an image on a processor, more than DEVICE_MILLISECONDS (100)"),
        ({"shape": (-1, 32, 32, 3)}, "input [-1, 32, 32, 3] has no fixed size"),
        ({"problem": "it has the operators CUSTOM"}, "the device model's file: it has the operators CUSTOM"),
        ({"repeated": 0.2}, "in a fresh process the device model's probabilities differ by 0.2"),
        ({"repeated": math.nan}, "in a fresh process the device model's probabilities differ by nan"),
        ({"repeated": None}, "cannot be loaded in a fresh process"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_devices_cannot_use_is_refused(changed, reason):
    (found,) = pair_gate.reasons(agreement(100), dataclasses.replace(FILE, **changed), NEEDED)

    assert reason in found


def test_limits_of_size_and_time_can_be_switched_off():
    needed = PairRequirements.of(Config(device_megabytes=0.0, device_milliseconds=0.0))

    assert pair_gate.reasons(agreement(100), dataclasses.replace(FILE, bytes=10**9, milliseconds=1e6), needed) == []


def test_a_device_asks_as_seldom_as_accuracy_allows():
    """The device is right wherever its confidence is 0.6 or more, and wrong elsewhere."""
    confidence = [number / 100 for number in range(100)]
    device = [of >= 0.6 for of in confidence]

    found = pair_gate.escalation(confidence, device, [True] * 100, loss=0.02)

    assert 0.56 < found.threshold <= 0.6 and found.escalated == pytest.approx(found.threshold, abs=0.011)
    assert found.accuracy >= 0.98


@pytest.mark.parametrize("loss, asked", [(0.0, 0.6), (0.1, 0.5), (0.3, 0.3), (1.0, 0.0)])
def test_a_larger_loss_saves_calls_and_the_curve_shows_all_choices(loss, asked):
    confidence = [number / 100 for number in range(100)]
    device = [of >= 0.6 for of in confidence]

    found = pair_gate.escalation(confidence, device, [True] * 100, loss)

    assert found.escalated == pytest.approx(asked, abs=0.011) and found.accuracy >= 1 - loss
    assert (found.threshold, found.escalated, found.accuracy) in found.curve
    assert found.curve[0] == (0.0, 0.0, 0.4) and found.curve[-1] == (1.0, 1.0, 1.0) and len(found.curve) > 50
    assert list(found.curve) == sorted(found.curve)


def test_a_device_that_is_as_good_alone_asks_never():
    found = pair_gate.escalation([0.5, 0.9], [True, False], [False, True], loss=0)

    assert (found.threshold, found.escalated, found.accuracy) == (0.0, 0.0, 0.5)


def test_a_device_that_is_always_wrong_and_certain_is_not_helped_by_any_threshold():
    found = pair_gate.escalation([1.0, 1.0], [False, False], [True, True], loss=0.1)

    assert (found.threshold, found.escalated, found.accuracy) == (1.0, 0.0, 0.0)


def test_without_images_there_is_neither_agreement_nor_escalation():
    empty = Agreement()

    assert empty.share is empty.interval is pair_gate.escalation([], [], [], loss=0.1) is None
    assert pair_gate.reasons(empty, FILE, NEEDED) == []


def test_an_agreement_travels_as_json():
    found = agreement(20, device_wrong=2)
    found.escalation = Escalation(0.5, 0.25, 0.9, ((0.0, 0.0, 0.8), (0.5, 0.25, 0.9)))

    assert Agreement.from_json(found.to_json()) == found
