"""Evaluating a trained model with the command."""

import json
import pathlib
import shutil

import pytest

from pipeline.data import digits
from pipeline.quality.scores import wilson


@pytest.fixture
def workspace(trained_workspace, tmp_path):
    """A workspace of one's own in which a model of the first camera's digits was released."""
    shutil.copytree(trained_workspace, tmp_path / "workspace", ignore=shutil.ignore_patterns("pipeline_root", "logs"))
    shutil.rmtree(tmp_path / "workspace" / "collected", ignore_errors=True)
    return tmp_path / "workspace"


def collected(workspace) -> list[pathlib.Path]:
    return sorted(path for path in (workspace / "collected").rglob("*") if path.is_file())


def test_a_model_that_fails_on_what_was_collected_calls_for_retraining_and_is_reported(ci, workspace):
    digits.write(str(workspace / "collected"), digits.CHANGED, limit=100)
    before = collected(workspace)

    done = ci("evaluate", "--json")

    fields = done.json
    assert done.code == 0
    assert (fields["release"], fields["images"], fields["should_retrain"]) == ("model-1", 100, True)
    assert fields["accuracy"] < 0.5
    assert fields["interval"] == pytest.approx(wilson(round(fields["accuracy"] * 100), 100))
    assert set(fields["per_label"]) == set("0123456789")
    assert collected(workspace) == before

    folder = pathlib.Path(fields["report"]).parent
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    right = [p["label"] == p["predicted"] for p in predictions]
    outcome = json.loads((folder / "outcome.json").read_text())
    assert len(predictions) == 100 and sum(right) / 100 == fields["accuracy"]
    assert {p["name"] for p in predictions} == {str(path.relative_to(workspace / "collected")) for path in before}
    assert all(0 <= p["confidence"] <= 1 for p in predictions)
    assert sum(count for truth, predicted, count in outcome["confusion"] if truth == predicted) == sum(right)
    assert outcome["accuracy"] == fields["accuracy"] and outcome["collected"] == 100
    assert "<!doctype html>" in pathlib.Path(fields["report"]).read_text()


def test_a_threshold_below_the_accuracy_calls_for_nothing(ci, workspace):
    digits.write(str(workspace / "collected"), digits.FIRST, limit=40, skip=960)
    for path in collected(workspace):
        path.write_bytes(path.read_bytes() + b"\0")  # other bytes, the same picture

    fields = ci("evaluate", "--accuracy-threshold", "0.5", "--json").json

    assert fields["images"] == 40 and fields["accuracy"] > 0.9 and fields["should_retrain"] is False


def test_what_is_unusable_double_published_or_unknown_is_left_out_or_counted_and_said(ci, workspace):
    folder = workspace / "collected"
    digits.write(str(folder), digits.CHANGED, limit=30)
    digits.write(str(folder), digits.FIRST, limit=5)  # is in span 1
    (folder / "8").mkdir(exist_ok=True)
    first = collected(workspace)[0]
    (first.parent / "again.png").write_bytes(first.read_bytes())
    (folder / "fox").mkdir()
    (folder / "fox" / "1.png").write_bytes(collected(workspace)[1].read_bytes() + b"\0")
    (folder / "8" / "cut.png").write_bytes(collected(workspace)[2].read_bytes()[:100])

    done = ci("evaluate", "--json")

    fields = done.json
    assert (fields["in_spans"], fields["duplicates"], fields["unusable"]) == (5, 1, 1)
    assert fields["images"] == 31 and fields["per_label"]["fox"] == 0 and fields["unknown_labels"] == {"fox": 1}
    assert fields["skipped"][0]["name"] == "8/cut.png"
    for said in ("5 images that a span has already", "does not know fox 1", "8/cut.png: "):
        assert said in done.err


def test_without_collected_images_nothing_is_evaluated(ci, workspace):
    done = ci("evaluate", "--json")

    assert done.code == 0
    assert (done.json["images"], done.json["accuracy"], done.json["interval"]) == (0, None, None)
    assert done.json["should_retrain"] is False and done.json["report"] is None
    assert "no new image is collected" in done.err


def test_without_a_release_it_names_the_next_step(ci):
    done = ci("evaluate", "--json")

    assert done.code == 1 and done.out == ""
    assert "No model was released" in done.err and "python -m ci train" in done.err


def test_a_release_that_was_tampered_with_is_not_used(ci, workspace):
    digits.write(str(workspace / "collected"), digits.CHANGED, limit=5)
    with open(workspace / "releases" / "model-1" / "model.tar.gz", "ab") as archive:
        archive.write(b"more")

    done = ci("evaluate")

    assert done.code == 1 and "checksum" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("threshold", ["nan", "1.2", "-1", "high"])
def test_a_threshold_that_is_no_share_is_refused(ci, threshold):
    done = ci("evaluate", "--accuracy-threshold", threshold)

    assert done.code == 2 and "--accuracy-threshold" in done.err


def test_on_vertex_needs_a_bucket_and_a_project(ci, workspace):
    digits.write(str(workspace / "collected"), digits.CHANGED, limit=5)

    done = ci("evaluate", "--on", "vertex", "--json")

    assert done.code == 2 and done.out == ""
    assert all(setting in done.err for setting in ("WORKSPACE", "GCP_PROJECT", "GCP_REGION"))


def test_a_version_of_the_template_is_not_taken_for_a_model(ci, cloud, workspace):
    """Someone has published a release for the tag v0.2.0, after the model, and attached the files of a model."""
    digits.write(str(workspace / "collected"), digits.FIRST, limit=20, skip=960)
    files = {path.name: path.read_bytes() for path in (workspace / "releases" / "model-1").iterdir()}
    for tag in ("model-1", "v0.2.0"):
        cloud.github.releases.add(tag, files)
    shutil.rmtree(workspace / "releases")
    token = cloud.github.token(contents="read")
    variables = cloud.environment | {"RELEASES": f"github:{cloud.github.repository}", "GITHUB_TOKEN": token}

    assert ci("evaluate", "--json", **variables).json["release"] == "model-1"
    assert ci("status", "--json", **variables).json["releases"] == ["model-1"]
