"""Submitting, as people do it, to the local Vertex AI."""

import dataclasses
import re

import pytest

from ci.commands.submit import ended, submit
from pipeline.errors import TooExpensive
from pipeline.outcomes import PreparedSpan, RetrainingSubmitted, Submission
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE, report_training


@pytest.fixture
def run(cloud_config):
    """What the command says and finds, in this process."""

    def call(pipeline="training", spans="all", wait=False, dry_run=False, verbose=False, yes=False, **settings):
        config = dataclasses.replace(cloud_config, **settings)
        return submit.callback(config, pipeline, spans, wait, dry_run, verbose, yes)

    return call


@pytest.fixture
def held(cloud):
    cloud.vertex.pipelines.hold()


def test_submitting_twice_gives_one_run_and_says_so(run, cloud, held, span_in_bucket):
    first, again = run(), run()

    assert first.fields["submitted"] and not again.fields["submitted"]
    assert first.fields["job"] == again.fields["job"] and first.fields["state"] == "pending"
    assert first.text.startswith("Training on span 1 submitted: https://console.cloud.google.com/")
    assert again.text.startswith("Training on span 1 is there already, pending: https://")
    assert len(cloud.vertex.pipelines.jobs) == 1


def test_a_dry_run_says_what_would_run_and_how_it_differs_from_the_last_one(run, cloud, held, span_in_bucket):
    first = run(dry_run=True)
    assert first.text.startswith("Would submit training on span 1 as training-")
    assert "span 1: 30 images, 21 to train on and 9 to evaluate; cat 15, dog 15" in first.text
    assert re.search(r"machines +Trainer on n1-standard-4; every node on e2-standard-4", first.text)
    assert re.search(r"last run +none yet\n +from cache +nothing", first.text)
    assert re.search(r"cost +about \$0\.\d\d: .*\n +assumed.*\n +prices of us-central1, .*2026", first.text)
    assert not re.search("[0-9a-f]{30}|[{]", first.text)
    assert first.fields["submitted"] is False and first.fields["last"] is None
    assert not cloud.vertex.pipelines.jobs and not cloud.gcs.names(f"gs://{cloud.bucket}/modules")

    submitted = run()
    assert submitted.fields["job"].endswith(first.fields["job"])
    same = run(dry_run=True)
    assert "Would start nothing: training on span 1 is there already" in same.text and same.fields["changed"] == []
    assert (
        "none, as nothing would be started" in same.text
        and "the same in everything" in same.text
        and same.fields["state"] == "pending"
    )

    assert "may be a mistake in writing: nl-standard-4" in run(dry_run=True, training_machines="nl-standard-4").text

    other = run(dry_run=True, tune=True, caching=False, accuracy_threshold=0.5)
    assert other.fields["last"] == submitted.fields["job"]
    changed = "\n".join(other.fields["changed"])
    assert re.search("compiled pipeline: [0-9a-f]{63} -> [0-9a-f]{63}", changed)
    assert "node Tuner: new" in changed and "node SpanExampleGen: another caching" in changed
    assert "another compiled pipeline" in other.text and "other values of eval_config" in other.text
    verbose = run(dry_run=True, verbose=True, tune=True, caching=False, accuracy_threshold=0.5).text
    assert re.search(r"parameter eval_config: .*0\.8.* -> .*0\.5", verbose) and f"Image: {IMAGE}" in verbose
    assert "  fingerprint: " in verbose and other.fields["digest"] in verbose


def test_automl_is_submitted_once_with_what_it_may_cost(run, cloud, held, span_in_bucket):
    first, again = run("automl"), run("automl")

    assert first.text.startswith("AutoML training on span 1 for at most $45.72 submitted: https://")
    assert again.text.startswith("AutoML training on span 1 for at most $45.72 is there already, pending: https://")
    assert first.fields["job"] == again.fields["job"] and len(cloud.vertex.pipelines.jobs) == 1


def test_a_run_of_automl_that_may_cost_too_much_is_shown_by_a_dry_run_and_started_with_yes(
    run, cloud, held, span_in_bucket
):
    expensive = {"automl_cloud_budget": 800_000}
    shown = run("automl", dry_run=True, **expensive)
    assert "for at most $2,790.00 as automl-" in shown.text and shown.fields["automl_dollars"] == pytest.approx(2790)
    assert "AutoML's trainings: https://cloud.google.com/vertex-ai/pricing" in shown.text
    with pytest.raises(TooExpensive):
        run("automl", **expensive)
    assert not cloud.vertex.pipelines.jobs

    assert run("automl", yes=True, **expensive).fields["submitted"]


def test_a_dry_run_of_a_retraining_shows_what_automl_costs(cloud_config, held, span_in_bucket):
    config = dataclasses.replace(cloud_config, pipeline="automl")
    shown = submit.callback(config, "retraining", "all", wait=False, dry_run=True, verbose=False, yes=False)

    assert shown.fields["automl_dollars"] == pytest.approx(45.72) and shown.fields["machines"] == {}


def test_a_retraining_with_nothing_to_do_is_not_submitted(run, cloud, cloud_config, span_in_bucket):
    report_training(open_storage(cloud_config.workspace), [1])

    done = run("retraining")

    assert done.fields == {"job": None, "state": None, "submitted": False}
    assert "Nothing to do" in done.text and not cloud.asked("aiplatform")


def test_a_failing_run_is_followed_to_its_end_and_reported(ci, cloud, cloud_config, span_in_bucket, tmp_path):
    cloud.vertex.workers.images.add(IMAGE, tmp_path)  # nothing is in it
    given = cloud.environment | {"WORKSPACE": cloud_config.workspace, "PIPELINE_IMAGE": IMAGE}

    done = ci("submit", "--pipeline", "retraining", "--wait", "--json", **given)

    assert done.code == 1 and done.out == ""
    first, node, error = done.err.splitlines()
    assert first.startswith("Retraining for span 1 submitted: https://console.cloud.google.com/")
    assert re.match(r"  SpanPreparator +failed +\d+\.\d s", node)
    assert re.match(r"error: SpanPreparator failed on Vertex AI: .*pipeline.*/runs/retraining-\w+\?project=", error)


def test_what_is_not_set_is_named(ci):
    done = ci("submit", "--pipeline", "training", GCP_PROJECT="project-1")

    assert done.code == 2
    for variable in ("WORKSPACE", "GCP_REGION", "PIPELINE_SERVICE_ACCOUNT", "IMAGE_REPOSITORY"):
        assert variable in done.err
    assert "GCP_PROJECT" not in done.err


def test_a_retraining_that_was_waited_for_says_which_training_it_started():
    prepared = PreparedSpan(span=2, images=7, labels={"cat": 7})
    started = Submission("projects/1/x", "pending", submitted=True, digest="5e" * 32, link="https://x/y")

    assert ended(RetrainingSubmitted(prepared, started)).splitlines() == [
        "7 images became span 2: cat 7.",
        "The training was submitted: https://x/y",
    ]
    again = dataclasses.replace(started, submitted=False)
    assert "is there already: https://x/y" in ended(RetrainingSubmitted(prepared, again))
    assert "No training" in ended(RetrainingSubmitted(prepared, None))
