"""Outcomes become JSON with the keys that scripts rely on, and are read back equal."""

import dataclasses
import json

import pytest

from pipeline.outcomes import (
    CurrentModel,
    DeviceEvaluation,
    DeviceOutcome,
    Escalation,
    EvaluationOutcome,
    Metrics,
    NodeDuration,
    PreparedSpan,
    Rejected,
    RetrainingOutcome,
    RetrainingSubmitted,
    RolloutOutcome,
    ServingOutcome,
    SliceVerdict,
    Submission,
    TrainingOutcome,
    UploadOutcome,
)

METRICS = Metrics(0.75, 40, {"1": 0.7, "2": 0.8}, {"cat": 0.75, "dog": None})
PREPARED = PreparedSpan(2, 7, {"cat": 7}, (Rejected("cat/1.png", "empty file"),), 3)
DEVICE = DeviceOutcome(
    blessed=False,
    metrics=METRICS,
    agreement=0.9,
    bytes=1_910_000,
    reasons=("pair: the device model cannot be loaded in a fresh process",),
    current=CurrentModel("model-1", METRICS),
    slices=(SliceVerdict("overall", "", 40, 30),),
    labels=("dog", "cat"),
    input={"shape": [1, 32, 32, 3]},
    quantization="fp16",
    milliseconds=0.26,
    machine="a processor",
    agreement_interval=(0.77, 0.96),
    escalation=Escalation(0.6, 0.5, 0.75),
    variants={"fp16": {"bytes": 1_910_000}},
)
TRAINING = TrainingOutcome(
    spans=(1, 2),
    blessed=False,
    metrics=METRICS,
    reasons=("overall: 30 of 40 right (75.0\u202f%), below the threshold 80\u202f%",),
    current=CurrentModel("model-1", METRICS, ("zebra",)),
    durations=(NodeDuration("Trainer", "done", 1.5),),
    slices=(
        SliceVerdict("overall", "", 40, 30),
        SliceVerdict("span", "2", 20, 16, 18, 3, 1, "within chance", 0.31, 0.025, (-0.3, 0.1), 0.2),
    ),
    unlearned={"eel": 1},
    left_out=(Rejected("span-0001/cat/1.jpg", "TensorFlow cannot decode it"),),
    page="/w/reports/training-1/report.html",
    device=DEVICE,
)
SUBMISSION = Submission("projects/1/x", "pending", True, "5e" * 32, "https://example.org/x")
EVALUATION = EvaluationOutcome(
    "model-1", 1, 0.0, (0.0, 0.8), {"cat": 0.0}, True, 0.8, 2, 1, (Rejected("x.jpg", "cut off"),), 0, 0, {"cat": 1}
)
EMPTY = EvaluationOutcome("model-1", 0, None, None, {}, False, 0.8, 0)
BOTH = dataclasses.replace(EVALUATION, device=DeviceEvaluation(0.5, (0.2, 0.8), {"cat": 0.5}, 0.75, 0.6))

OUTCOMES = [
    METRICS,
    Metrics(),
    PREPARED,
    PreparedSpan(),
    DEVICE,
    DeviceOutcome(True, METRICS, None, 0),
    TRAINING,
    TrainingOutcome((1,), True, METRICS, "model-1"),
    RetrainingOutcome(PREPARED, TRAINING),
    RetrainingOutcome(),
    RetrainingSubmitted(PREPARED, SUBMISSION),
    RetrainingSubmitted(PreparedSpan(), None),
    EVALUATION,
    EMPTY,
    BOTH,
    UploadOutcome("model-1", "projects/1/models/x@1"),
    UploadOutcome(None, None),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_is_read_as_it_was_written(outcome):
    written = json.loads(json.dumps(outcome.to_json()))

    assert type(outcome).from_json(written) == outcome
    assert type(outcome).from_json(written | {"added_by_a_later_version": 1}) == outcome


TRAINED = {"spans", "blessed", "metrics", "release", "reasons", "current", "durations", "slices", "unlearned", "page"}
TRAINED |= {"data", "device", "left_out"}
SPAN = {"span", "images", "labels", "rejected", "duplicates", "conflicts", "relabelled", "near_duplicates", "alike"}
SPAN |= {"dark"}


@pytest.mark.parametrize(
    "outcome, keys",
    [
        (METRICS, {"accuracy", "images", "per_span", "per_label"}),
        (TRAINING, TRAINED),
        (PREPARED, SPAN),
        (RetrainingOutcome(PREPARED, TRAINING), SPAN | TRAINED),
        (RetrainingOutcome(), SPAN | TRAINED),
        (SUBMISSION, {"job", "state", "submitted", "digest", "link"}),
        (RetrainingSubmitted(PREPARED, SUBMISSION), SPAN | {"training"}),
        (
            EVALUATION,
            {"release", "images", "accuracy", "interval", "per_label", "should_retrain", "threshold", "collected"}
            | {"waiting", "unusable", "skipped", "duplicates", "in_spans", "unknown_labels", "report", "conflicts"}
            | {"device"},
        ),
        (
            ServingOutcome("model-1", "e", {"model-1": 100}, "model-1", True),
            {"release", "endpoint", "traffic", "promoted", "changed"},
        ),
        (RolloutOutcome(), {"release", "endpoint", "traffic", "promoted", "changed", "devices", "server"}),
    ],
)
def test_the_keys_are_those_of_the_commands(outcome, keys):
    assert set(outcome.to_json()) == keys


def test_a_retraining_that_trained_nothing_has_empty_values():
    found = RetrainingOutcome(PREPARED).to_json()

    assert found["span"] == 2 and found["rejected"] == [{"name": "cat/1.png", "reason": "empty file"}]
    assert found["spans"] == found["reasons"] == found["durations"] == []
    assert found["blessed"] is found["metrics"] is found["release"] is None


def test_a_verdict_about_a_slice_is_a_sentence_with_counts():
    overall, span = TRAINING.slices

    assert overall.sentence("") == "overall: 30 of 40 right"
    assert span.sentence("model-1") == "span 2: 16 of 20 right, model-1 18 of 20: within chance"
