"""Real runs of the pipelines, on few images. Nothing is replaced by anything else."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

import pytest

from pipeline.config import Config
from pipeline.data import digits, reports, spans
from pipeline.errors import DataAnomalies, NoSpans, PipelineFailed, ReleaseGone, SpanNotFound, TooFewImages
from pipeline.formatting import percent
from pipeline.orchestrators import local
from pipeline.outcomes import RetrainingOutcome, TrainingOutcome
from pipeline.releases.factory import open_releases
from pipeline.storage.factory import open_storage
from tests.clone import ROOT
from tests.conftest import put
from tests.documentation import commands, paste

pytestmark = pytest.mark.timeout(900)

NODES = [
    "SpanExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "ReleasePusher",
]


def states(shown: str) -> dict[str, str]:
    """Reads what people see of a run: {node: done, unchanged or failed}."""
    return dict(re.findall(r"^  (\w+) +(done|unchanged|failed) ", shown, re.MULTILINE))


@pytest.fixture
def trained_outcome(trained) -> TrainingOutcome:
    return trained[1]


def config(workspace, **settings):
    return Config(workspace=str(workspace), **settings)


def test_what_a_run_leaves_behind_is_in_the_workspace_or_for_a_bucket_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert local.folder_of_runs(config(tmp_path)) == str(tmp_path)
    assert local.pipeline_root(config("gs://bucket/a/b"), "training") == (
        "/cache/spanloop/bucket/a/b/pipeline_root/training"
    )


def test_a_training_ends_with_a_release_that_says_what_made_it(trained_workspace, trained_outcome):
    assert trained_outcome.blessed and trained_outcome.reasons == ()
    assert trained_outcome.spans == (1,) and trained_outcome.release == "model-1"
    metrics = trained_outcome.metrics
    assert metrics.accuracy > 0.8
    assert metrics.per_span == {"1": metrics.accuracy}
    assert set(metrics.per_label) == set("0123456789")

    release = json.loads((trained_workspace / "releases" / "model-1" / "model.json").read_text())
    assert release["spans"] == [1] and release["metrics"] == metrics.to_json()
    assert re.fullmatch("[0-9a-f]{64}", release["modules_digest"]) and release["image"] == ""
    card = (trained_workspace / "releases" / "model-1" / "model-card.html").read_bytes()
    assert release["files"]["model-card.html"] == hashlib.sha256(card).hexdigest() and b"model-1" in card
    assert reports.newest_training(open_storage(str(trained_workspace))).outcome.release == "model-1"


def test_the_duration_of_each_node_is_returned_and_kept_with_the_report(trained_workspace, trained_outcome):
    durations = trained_outcome.durations
    assert [(duration.node, duration.state) for duration in durations] == [(node, "done") for node in NODES]
    assert all(0 < duration.seconds < 300 for duration in durations)
    slowest = max(durations, key=lambda duration: duration.seconds)
    assert slowest.node in ("Transform", "Trainer", "Evaluator")

    storage = open_storage(str(trained_workspace))
    first = next(report for report in reports.trainings(storage) if report.outcome.release == "model-1")
    assert reports.durations(storage, first) == durations


def test_the_same_training_again_runs_nothing_and_releases_nothing(trained_in_place, trained_outcome, capfd):
    again = local.train(config(trained_in_place), "all")

    assert states(capfd.readouterr().err) == dict.fromkeys(NODES, "unchanged")
    assert dataclasses.replace(again, durations=trained_outcome.durations) == trained_outcome
    assert [(duration.node, duration.state) for duration in again.durations] == [(node, "unchanged") for node in NODES]
    assert open_releases(str(trained_in_place / "releases")).tags() == ["model-1"]


def test_a_deleted_release_is_not_reported_as_released(trained_in_place, tmp_path):
    elsewhere = config(trained_in_place, releases=str(tmp_path / "releases"))
    # The number of the workspace's release elsewhere is not given again.
    assert local.train(elsewhere, "all").release == "model-2"
    shutil.rmtree(tmp_path / "releases" / "model-2")

    with pytest.raises(ReleaseGone) as gone:
        local.train(elsewhere, "all")
    assert (gone.value.tag, gone.value.releases) == ("model-2", elsewhere.releases)


def test_the_commands_of_the_readme_make_a_better_model_of_new_images(trained_in_place, tmp_path):
    """The first images are those of the shared training, so only the second training takes time."""
    (script,) = commands("README.md#run-it-on-your-images")
    digits.write(str(tmp_path / "photographs"), digits.FIRST, limit=600)
    digits.write(str(tmp_path / "newer"), digits.CHANGED, limit=250)
    put(tmp_path / "newer", {"x/ten.png": next(digits.images(digits.FIRST, skip=900, limit=1))[1]})
    put(trained_in_place, {"collected/3/broken.png": b"no picture"})
    settings = {"WORKSPACE": str(trained_in_place), "ACCURACY_MARGIN": "0.2", "HOME": str(tmp_path)}

    printed = paste(f"exec 2>&1\n{script}", ROOT, **settings)

    first, second = printed.split("251 images collected")
    # the margin is an input of the last node
    assert states(first) | {"ReleasePusher": "unchanged"} == dict.fromkeys(NODES, "unchanged")
    assert "Released as model-1." in first
    assert "100 of 100 images: enough to evaluate." in second and "time for `python -m ci retrain`" in second
    assert "251 images became span 2" in second and "3/broken.png" in second
    shown = states(second)
    assert shown["SpanPreparator"] == shown["PipelineTrigger"] == shown["CurrentModel"] == "done"
    assert "Labels that model-1 did not know: x." in second and "Released as model-2." in second
    outcome = reports.newest_training(open_storage(str(trained_in_place))).outcome
    now, before = outcome.metrics.per_span, outcome.current.metrics.per_span
    assert set(now) == set(before) == {"1", "2"} and now["2"] > before["2"]

    assert local.retrain(config(trained_in_place), "all") == RetrainingOutcome()


def test_a_model_below_the_threshold_is_not_released_and_says_why(trained_in_place, capfd):
    outcome = local.train(config(trained_in_place, accuracy_threshold=1.0), "1")

    shown = states(capfd.readouterr().err)
    assert shown["Trainer"] == "unchanged" and shown["Evaluator"] == "done"
    assert not outcome.blessed and outcome.release is None
    (reason,) = outcome.reasons
    right = f"{outcome.slices[0].right} of {outcome.metrics.images} right"
    assert reason == f"overall: {right} ({percent(outcome.metrics.accuracy)}), below the threshold 100\u202f%"


def command(workspace, *arguments, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return subprocess.Popen(
        [sys.executable, "-m", "ci", *arguments],
        env=environment | {"WORKSPACE": str(workspace)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_training_that_was_killed_goes_on_from_its_last_epoch_to_the_same_model(
    trained_workspace, tmp_path, trained_outcome
):
    shutil.copytree(trained_workspace / "spans", tmp_path / "spans")
    process = command(tmp_path, "train")
    checkpoints = tmp_path / "pipeline_root" / "training" / "checkpoints"
    while not list(checkpoints.glob("*/state.npz")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    outcome = local.train(config(tmp_path), "all")

    log = max((tmp_path / "logs").glob("training-*.log"), key=lambda path: path.name).read_text()
    assert re.search(r"Going on after epoch [1-9]", log)
    assert outcome.metrics == trained_outcome.metrics
    assert outcome.release == "model-1"
    assert not list(checkpoints.iterdir())


class Retrained(NamedTuple):
    """What three retrainings at once left, of which one was killed; the others' outcomes, and what people saw."""

    workspace: pathlib.Path
    outcomes: list[dict[str, Any]]
    shown: str


@pytest.fixture(scope="module")
def retrained(trained, tmp_path_factory) -> Retrained:
    """The first is killed when it has made span 2; the others wait for it. They tune a model, which learns nothing."""
    workspace = tmp_path_factory.mktemp("retrained") / "workspace"
    shutil.copytree(trained[0], workspace)
    storage = open_storage(str(workspace))
    for name, image in digits.images(digits.CHANGED, limit=250):
        storage.write(f"collected/{name}", image)
    settings = {"MODULES": "tests.pipeline.forgetful", "TUNE": "true", "ACCURACY_THRESHOLD": "0"}
    killed = command(workspace, "retrain", **settings)

    def wait_for(pattern: str) -> None:
        while not list(workspace.glob(pattern)):
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.01)

    wait_for("logs/retraining-*.log")  # it has the lock
    others = [command(workspace, "retrain", "--json", **settings) for _ in range(2)]
    wait_for("spans/span-0002/span.json")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    said = [process.communicate() for process in others]
    assert [process.returncode for process in others] == [0, 0], said
    return Retrained(workspace, [json.loads(out) for out, _ in said], "".join(err for _, err in said))


def test_a_retraining_that_was_killed_is_finished_by_one_of_two_that_waited_for_it(retrained):
    assert [outcome["span"] for outcome in retrained.outcomes] == [None, None], "it was there already"
    assert sorted(outcome["spans"] for outcome in retrained.outcomes) == [[], [1, 2]]
    storage = open_storage(str(retrained.workspace))
    assert [report.outcome.spans for report in reports.trainings(storage)] == [(1,), (1, 2)]
    assert [span.number for span in spans.published(storage)] == [1, 2]
    assert spans.published(storage)[1].images == 250


def test_hyperparameters_are_searched_when_asked_for(retrained):
    shown = states(retrained.shown)
    assert shown["Tuner"] == shown["Trainer"] == "done"
    (best,) = retrained.workspace.glob("pipeline_root/training/Tuner/best_hyperparameters/*/*.txt")
    assert set(json.loads(best.read_text())["values"]) == {"learning_rate", "dropout"}


def test_a_model_that_forgets_a_span_is_refused(retrained):
    """The current model knows span 1; one that learned nothing is worse there."""
    outcome = reports.newest_training(open_storage(str(retrained.workspace))).outcome
    assert not outcome.blessed and outcome.release is None
    assert any(re.match(r"span 1: .* right, model-1 .*: worse than chance", reason) for reason in outcome.reasons)


def test_data_that_do_not_fit_a_curated_schema_stop_the_run_with_feature_and_span(trained_copy):
    storage = open_storage(str(trained_copy))
    for name, image in digits.images(digits.CHANGED, limit=30):
        storage.write(f"collected/{name}", image)
    for number, (_, image) in enumerate(digits.images(digits.FIRST, skip=900, limit=20)):
        storage.write(f"collected/x/{number}.png", image)
    spans.prepare(storage)

    with pytest.raises(DataAnomalies, match=r"span 2 .*feature 'label'.*x") as stopped:
        local.train(config(trained_copy, modules="tests.pipeline.curated"), "all")
    assert stopped.value.spans == (2,) and set(stopped.value.features) == {"label"}


def test_an_error_of_a_library_becomes_one_line_with_the_log(trained_in_place):
    with pytest.raises(PipelineFailed, match=r"Transform failed: .*broken on purpose") as failed:
        local.train(config(trained_in_place, modules="tests.pipeline.broken"), "all")

    assert failed.value.node == "Transform" and str(failed.value).endswith(failed.value.log)
    assert "Traceback" in pathlib.Path(failed.value.log).read_text()


def test_a_training_without_what_it_needs_says_so_before_anything_slow(trained_copy, tmp_path):
    with pytest.raises(NoSpans, match="import-images"):
        local.train(config(tmp_path), "all")
    with pytest.raises(SpanNotFound) as missing:
        local.train(config(trained_copy), "1,7,9")
    assert (missing.value.wanted, missing.value.present) == ((7, 9), (1,))

    storage = open_storage(str(tmp_path))
    for name, image in digits.images(digits.FIRST, limit=40):
        storage.write(f"collected/same_{os.path.basename(name)}", image)
    spans.prepare(storage)
    with pytest.raises(TooFewImages, match="'same'"):
        local.train(config(tmp_path), "all")
