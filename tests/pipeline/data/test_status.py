"""What is to be done next follows from what there is."""

import dataclasses

import pytest

from pipeline.data.status import next_step
from pipeline.outcomes import EvaluationOutcome

EVALUATED = EvaluationOutcome("model-2", 40, 0.75, (0.6, 0.86), {}, should_retrain=False, threshold=0.7, collected=40)
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
        ([1, 2], [1, 2], ["model-2"], 1041, EVALUATED, "evaluate", "1,041 images are collected, 40 at the last"),
        ([1, 2], [1, 2], ["model-2"], 40, EVALUATED, "wait", "75.0\u202f%"),
        ([1, 2], [1, 2], ["model-2"], 40, POOR, "retrain", "only 50.0\u202f%"),
        ([1, 2], [1, 2], ["model-2"], 0, POOR, "wait", "no new images"),
    ],
)
def test_the_next_step(spans, trained, releases, collected, last_evaluation, action, why):
    step = next_step(spans, trained, releases, collected, last_evaluation)

    assert step.action == action
    assert why in step.why
