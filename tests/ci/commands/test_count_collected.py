"""Counting what was collected, no further than needed."""

import pytest


@pytest.mark.parametrize(
    "images, threshold, counted, enough", [(0, 1, 0, False), (4, 5, 4, False), (5, 5, 5, True), (9, 5, 5, True)]
)
def test_it_counts_up_to_the_threshold(ci, collect, images, threshold, counted, enough):
    collect(images)

    done = ci("count-collected", "--threshold", threshold, "--json")

    assert (done.code, done.json) == (0, {"counted": counted, "enough": enough})


def test_the_text_says_whether_to_wait(ci, collect):
    collect(2)

    assert ci("count-collected", "--threshold", 3).out == "2 of 3 images: wait for more.\n"
    assert ci("count-collected", "--threshold", 2).out == "2 of 2 images: enough to evaluate.\n"


@pytest.mark.parametrize("threshold", ["0", "-1", "many", "1.5"])
def test_a_threshold_is_a_whole_number_above_zero(ci, threshold):
    done = ci("count-collected", "--threshold", threshold)

    assert (done.code, done.out) == (2, "")
    assert "--threshold" in done.err and done.err.count("\n") == 1


def test_the_threshold_has_to_be_named(ci):
    done = ci("count-collected")

    assert done.code == 2
    assert "Missing option '--threshold'" in done.err


def test_a_workflow_can_ask_whether_there_is_enough(ci, collect, tmp_path):
    collect(1)

    ci("count-collected", "--threshold", 1, GITHUB_OUTPUT=str(tmp_path / "outputs"))

    assert (tmp_path / "outputs").read_text() == "counted=1\nenough=true\n"
