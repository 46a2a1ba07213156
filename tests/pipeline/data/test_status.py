"""What is to be done next follows from what there is."""

import dataclasses

import pytest

from pipeline.data.incoming.collected import Waiting
from pipeline.data.status import Next, next_step
from pipeline.outcomes import EvaluationOutcome, Metrics, TrainingOutcome

EVALUATED = EvaluationOutcome(
    "model-2", 40, 0.75, (0.6, 0.86), {}, should_retrain=False, threshold=0.7, collected=40, waiting="these 40"
)
POOR = dataclasses.replace(EVALUATED, accuracy=0.5, should_retrain=True)


@pytest.mark.parametrize(
    "spans, trained, releases, collected, last_evaluation, action, why",
    [
        ([], [], [], 0, None, "import-images", "no span yet"),
        ([], [], [], 40, None, "retrain", "40 images are collected"),
        ([1, 2], [], [], 0, None, "train", "span 1-2"),
        ([1, 2], [1], [], 40, None, "train", "span 2"),
        ([1, 2], [1, 2], [], 40, None, "import-images", "good enough"),
        ([1, 2], [1], ["model-1"], 0, None, "retrain", "span 2"),
        ([1, 2], [2], ["model-1"], 0, None, "wait", "no new images"),
        ([1, 2], [1, 2], ["model-1"], 0, None, "wait", "no new images"),
        ([1, 2], [1, 2], ["model-2", "model-1"], 40, None, "evaluate", "model-2 was not evaluated"),
        ([1, 2], [1, 2], ["model-3", "model-2"], 40, EVALUATED, "evaluate", "model-3 was not evaluated"),
        (
            [1, 2],
            [1, 2],
            ["model-2"],
            1041,
            EVALUATED,
            "evaluate",
            "1,041 images are collected, not the 40 of the last",
        ),
        ([1, 2], [1, 2], ["model-2"], 40, EVALUATED, "wait", "75.0\u202f%"),
        ([1, 2], [1, 2], ["model-2"], 40, POOR, "retrain", "only 50.0\u202f%"),
        ([1, 2], [1, 2], ["model-2"], 0, POOR, "wait", "no new images"),
    ],
)
def test_the_next_step(spans, trained, releases, collected, last_evaluation, action, why):
    step = next_step(spans, trained, releases, Waiting(collected, f"these {collected}"), last_evaluation)

    assert step.action == action
    assert why in step.why


def test_other_images_than_those_of_the_last_evaluation_are_evaluated_even_if_they_are_as_many():
    step = next_step([1], [1], ["model-2"], Waiting(40, "40 others"), EVALUATED)

    assert step.action == "evaluate"


def test_images_that_cannot_be_evaluated_are_not_evaluated_again_and_again():
    nothing = dataclasses.replace(EVALUATED, images=0, accuracy=None, interval=None)

    step = next_step([1], [1], ["model-2"], Waiting(40, "these 40"), nothing)

    assert step.action == "wait" and "clear-collected" in step.why


def test_without_a_good_model_the_choices_are_named_with_the_page_of_the_last_one():
    refused = TrainingOutcome((1,), False, Metrics(0.5, 10), page="/w/reports/training-1/report.html")

    step = next_step([1], [1], [], Waiting(0, ""), None, refused)

    for choice in ("more images", "epochs", "backbone", "image_size", "pretrained", "ACCURACY_THRESHOLD", refused.page):
        assert choice in step.why


@pytest.mark.parametrize(
    "action, in_bucket",
    [("train", "submit --pipeline training"), ("retrain", "submit --pipeline retraining"), ("evaluate", "evaluate")],
)
def test_where_the_workspace_is_in_a_bucket_trainings_are_submitted(action, in_bucket):
    step = Next(action, "")
    assert (step.command(in_cloud=True), step.command(in_cloud=False)) == (in_bucket, action)
