"""Reports of runs: what was written comes back, anything else does not."""

import dataclasses
import json
import time

import pytest

from pipeline.data.reports import TrainingReport
from pipeline.errors import UnreadableReport
from pipeline.outcomes import NodeDuration
from pipeline.reporting.run_report import MOST_CHARACTERS, MOST_LABELS, RunReport, of_training
from tests.pipeline.reporting.runs import DEVICE, changed, hostile, report


def refused(text: str) -> str:
    with pytest.raises(UnreadableReport) as error:
        RunReport.from_json(text)
    message = str(error.value)
    assert "\n" not in message and "python -m ci rehearse --output FILE" in message and "octocat" not in message
    return error.value.reason


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"device": DEVICE},
        {"current": None, "uncompared": "there is no base"},
        {"threshold": None, "release": None, "commit": ""},
    ],
)
def test_what_was_written_comes_back(fields):
    made = report(**fields)
    assert RunReport.from_json(made.to_json()) == made
    assert hostile()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("octocat", 1, "the report has fields that it must not have"),
        ("metrics.octocat", 1, "metrics has fields that it must not have"),
        ("current.metrics.octocat", 1, "metrics has fields"),
        ("kind", "@octocat", "'kind' of the report"),
        ("kind", ["rehearsal"], "'kind' of the report"),
        ("branch", "octocat", "'branch'"),
        ("commit", "@octocat", "'commit'"),
        ("commit", "c0ffee" * 6 + "beef\n", "'commit'"),
        ("identity", "x" * 64, "'identity'"),
        ("created", "yesterday", "'created'"),
        ("release", "@octocat", "'release'"),
        ("current.release", "model-1 @octocat", "'release' of current"),
        ("current", "model-1", "current is no object"),
        ("blessed", 1, "'blessed'"),
        ("blessed", "yes", "'blessed'"),
        ("metrics", None, "metrics is no object"),
        ("metrics.accuracy", 1.5, "'accuracy' of metrics"),
        ("metrics.accuracy", True, "'accuracy' of metrics"),
        ("metrics.accuracy", "0.5", "'accuracy' of metrics"),
        ("metrics.images", -1, "'images' of metrics"),
        ("device.accuracy", 2, "'accuracy' of device"),
        ("device.bytes", "@octocat", "'bytes' of device"),
        ("device.octocat", 1, "device has fields that it must not have"),
        ("metrics.images", 1.5, "'images' of metrics"),
        ("metrics.per_label", [], "'per_label' of metrics"),
        ("metrics.per_label", {"cat": {}}, "'per_label' of metrics"),
        ("metrics.per_label", {"c" * 256: 0.5}, "'per_label' of metrics"),
        ("metrics.per_label", {str(n): 0.5 for n in range(MOST_LABELS + 1)}, "'per_label' of metrics"),
        ("spans", [0], "'spans'"),
        ("spans", [True], "'spans'"),
        ("spans", "1", "'spans'"),
        ("spans", [1] * 2001, "'spans'"),
        ("reasons", ["x" * 501], "'reasons'"),
        ("reasons", [1], "'reasons'"),
        ("durations", [{}], "a duration has no field 'node'"),
        ("durations", [{"node": "a", "state": "@octocat", "seconds": 1}], "'state' of a duration"),
        ("durations", [{"node": "a", "state": "done", "seconds": -1}], "'seconds' of a duration"),
        ("durations", [{"node": "a", "state": "done", "seconds": 1}] * 101, "'durations'"),
        ("durations", [[]], "a duration is no object"),
        ("seconds", 1e8, "'seconds'"),
        ("why", "x" * 501, "'why'"),
        ("machines", "x" * 301, "'machines'"),
    ],
)
def test_a_field_that_is_not_as_it_has_to_be_is_named_and_its_value_is_not(path, value, said):
    assert said in refused(changed(path, value))


@pytest.mark.parametrize("name", sorted(json.loads(report().to_json())))
def test_every_field_has_to_be_there(name):
    fields = json.loads(report().to_json())
    del fields[name]
    assert f"no field {name!r}" in refused(json.dumps(fields))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("octocat", "no JSON"),
        ("[]", "the report is no object"),
        ('"octocat"', "the report is no object"),
        ('{"kind": "training", "kind": "rehearsal"}', "a field is there twice"),
        (changed("seconds", 0).replace('"seconds": 0', '"seconds": NaN'), "not finite"),
        (changed("seconds", 0).replace('"seconds": 0', '"seconds": -Infinity'), "not finite"),
        (changed("seconds", 0).replace('"seconds": 0', '"seconds": 1e999'), "a number is too long"),
        (changed("metrics.images", 0).replace('"images": 0', f'"images": {"9" * 900_000}'), "a number is too long"),
        ("[" * 100_000 + "]" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
        (f'"{"x" * MOST_CHARACTERS}"', "longer than 1,000,000 characters"),
    ],
)
def test_what_is_no_report_is_refused_at_once(text, said):
    began = time.thread_time()
    assert said in refused(text)
    assert time.thread_time() - began < 2


TRAINING = {
    "spans": [1, 2],
    "blessed": False,
    "metrics": {"accuracy": 0.75, "images": 40, "per_span": {"1": 0.7, "2": 0.8}, "per_label": {"cat": 0.75}},
    "release": None,
    "reasons": ["accuracy on span 2 is 0.1000 below that of model-3, more than the 0.02 allowed"],
    "current": {
        "release": "model-3",
        "metrics": {"accuracy": 0.8, "images": 40, "per_span": {"1": 0.7, "2": 0.9}, "per_label": {"cat": 0.8}},
        "new_labels": ["zebra"],
    },
    "identity": "5e" * 32,
    "created": "2026-11-22T12:04:05Z",
    "kind": "training",
}


def test_a_training_of_the_workspace_becomes_a_report(release):
    durations = [NodeDuration("Trainer", "done", 2.5), NodeDuration("b", "done", 1.0)]
    training = TrainingReport.from_json(TRAINING | {"commit": "c0ffee" * 6 + "beef"}, "reports/x")
    made = of_training(training, durations, release("model-3"), threshold=0.8)

    assert RunReport.from_json(made.to_json()) == made
    assert made.kind == "training" and made.spans == (1, 2) and made.seconds == 3.5
    assert made.current.commit == release().commit and made.current.new_labels == ("zebra",)
    assert made.metrics.per_label == {"cat": 0.75} and made.modules_digest == ""


def test_a_training_whose_current_release_is_gone_is_still_reported():
    training = TrainingReport.from_json(TRAINING, "reports/x")
    made = of_training(training, [], None)
    assert made.current.commit == made.current.modules_digest == "" and made.threshold is None
    first = dataclasses.replace(training, outcome=dataclasses.replace(training.outcome, current=None))
    assert of_training(first, [], None).current is None
