"""Decisions about models, and the words for them."""

import collections

import pytest

from pipeline.config import Config
from pipeline.quality.release_gate import Requirements, Tallies, decide
from pipeline.quality.tally import Tally

NEEDED = Requirements(threshold=0.8, margin=0.02, label_floor=0.01)


def tally(images, right, lost=0, gained=0, unknown=0, confusion=None):
    return Tally(images, right, lost, gained, unknown, collections.Counter(confusion or {("cat", "cat"): images}))


def tallies(overall, labels=None, **spans):
    return Tallies(overall, {name.removeprefix("span"): of for name, of in spans.items()}, labels or {})


def test_the_first_model_needs_nothing_but_the_threshold():
    good, poor = (decide(tallies(tally(100, right)), NEEDED, "") for right in (80, 79))

    assert good.blessed and good.reasons == ()
    assert not poor.blessed
    assert poor.reasons == ("overall: 79 of 100 right (79.0\u202f%), below the threshold 80\u202f%",)


def test_a_difference_within_chance_is_said_and_refuses_nothing():
    found = decide(
        tallies(tally(115, 110, lost=1), span1=tally(15, 14, lost=1), span2=tally(100, 96)), NEEDED, "model-1"
    )

    assert found.blessed
    assert found.slices[1].sentence("model-1") == "span 1: 14 of 15 right, model-1 15 of 15: within chance"


def test_a_reason_names_counts():
    found = decide(
        tallies(tally(115, 100, lost=9), span1=tally(15, 6, lost=9), span2=tally(100, 94)), NEEDED, "model-1"
    )

    assert found.reasons == (
        "overall: 100 of 115 right, model-1 109 of 115: worse than chance explains (9 lost, 0 gained)",
        "span 1: 6 of 15 right, model-1 15 of 15: worse than chance explains (9 lost, 0 gained)",
    )


def test_a_slice_says_which_difference_it_could_have_shown():
    found = decide(tallies(tally(1000, 950, lost=10, gained=10)), NEEDED, "model-1")

    (overall,) = found.slices
    low, high = overall.interval
    assert low < 0 < high
    assert 0.01 < overall.detectable < 0.05


@pytest.mark.parametrize("floor, blessed", [(0.01, False), (0.0, True)])
def test_a_label_that_is_never_right_blocks_a_release(floor, blessed):
    labels = {"cat": tally(200, 190), "defect": tally(12, 0, confusion={("defect", "cat"): 12})}
    overall = tally(212, 190, confusion={("cat", "cat"): 190, ("cat", "defect"): 10, ("defect", "cat"): 12})

    found = decide(tallies(overall, labels), Requirements(0.8, 0.02, floor), "")

    assert found.blessed is blessed
    if not blessed:
        assert found.reasons == ("label defect: none of 12 right: the model never sees it (LABEL_FLOOR)",)


def test_a_label_without_images_for_training_is_named_so():
    labels = {"cat": tally(200, 200), "rare": tally(10, 0, unknown=10)}

    found = decide(tallies(tally(210, 200), labels), NEEDED, "")

    assert found.reasons == ("label rare: none of 10 right: no image of it was for training (LABEL_FLOOR)",)


def test_a_network_that_always_answers_the_same_is_named_first():
    overall = tally(100, 50, confusion={("cat", "cat"): 50, ("dog", "cat"): 50})

    found = decide(tallies(overall, {"cat": tally(50, 50), "dog": tally(50, 0)}), NEEDED, "")

    assert found.reasons[0] == "every image is taken for 'cat': the network diverged or learned nothing"


def test_a_network_that_knows_one_label_only_has_not_diverged():
    overall = tally(4, 3, confusion={("cat", "cat"): 3, ("rare", "cat"): 1})

    found = decide(tallies(overall, {"cat": tally(3, 3), "rare": tally(1, 0, unknown=1)}), NEEDED, "")

    assert [reason.partition(":")[0] for reason in found.reasons] == ["overall"]


def test_requirements_travel_as_json():
    needed = Requirements.of(Config(accuracy_threshold=0.7, label_floor=0.0))

    assert Requirements.from_json(needed.to_json()) == needed == Requirements(0.7, 0.02, 0.0)
