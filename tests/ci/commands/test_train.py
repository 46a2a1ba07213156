import shutil

import pytest

from ci.commands.train import summary
from pipeline.outcomes import CurrentModel, Metrics, Rejected, SliceVerdict, TrainingOutcome

OUTCOME = TrainingOutcome(
    spans=(1, 2, 4),
    blessed=False,
    metrics=Metrics(0.75, 40, {"1": 0.7, "2": 0.8, "4": 0.75}),
    reasons=("span 2: 12 of 20 right, model-3 20 of 20: worse than chance explains (8 lost, 0 gained)",),
    current=CurrentModel("model-3", Metrics(0.8, 40, {"1": 0.7, "2": 0.9, "4": 0.8}), ("zebra",)),
    slices=(
        SliceVerdict("overall", "", 40, 30, 32, lost=8, gained=6, finding="within chance"),
        SliceVerdict("span", "2", 20, 12, 20, lost=8, finding="worse than chance explains"),
        SliceVerdict("label", "cat", 40, 30, 32, lost=8, gained=6, finding="within chance"),
    ),
    unlearned={"eel": 1},
    left_out=(Rejected("span-0001/cat/1.jpg", "TensorFlow cannot decode it"),),
    page="/w/reports/training-1/report.html",
)


def test_a_training_ends_with_what_scripts_need_and_what_people_want(ci, trained_in_place):
    done = ci("train", "--spans", "all", "--json", WORKSPACE=str(trained_in_place))

    assert done.code == 0
    assert done.json["blessed"] and done.json["release"] == "model-1" and done.json["spans"] == [1]
    assert set(done.json["metrics"]) >= {"accuracy", "per_span", "per_label"}
    assert "Released as model-1." in done.err
    for node in ("Trainer", "Evaluator"):
        assert node in done.err  # people see how far it is, and only that
    assert "Warning" not in done.err and "tensorflow" not in done.err


def test_a_model_that_is_not_released_is_compared_with_the_one_that_stays():
    text = summary(OUTCOME)

    assert "\n  span 2: 12 of 20 right, model-3 20 of 20: worse than chance explains\n" in text
    assert "No image for training, so always wrong: eel 1." in text
    assert "1 image left out:\n  span-0001/cat/1.jpg: TensorFlow cannot decode it\nWithdraw them:" in text
    assert "Labels that model-3 did not know: zebra." in text
    assert text.endswith(f"Not released: {OUTCOME.reasons[0]}.\nPage: /w/reports/training-1/report.html")


@pytest.mark.parametrize("spans, said", [("7,8", "Span 7-8 does not exist"), ("newest", "--spans is 'newest'")])
def test_spans_that_do_not_exist_are_refused_at_once(ci, trained_copy, spans, said):
    done = ci("train", "--spans", spans, WORKSPACE=str(trained_copy))

    assert done.code == 2 and said in done.err and len(done.err.splitlines()) == 1


def test_without_spans_there_is_nothing_to_train_on(ci, workspace):
    done = ci("train", WORKSPACE=str(workspace))

    assert done.code == 1 and "import-images" in done.err


def test_a_full_disk_is_one_readable_line(ci, trained_workspace, small_disk):
    shutil.copytree(trained_workspace / "spans", small_disk / "spans")
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - 40_000))

    done = ci("train", WORKSPACE=str(small_disk))

    assert (done.code, done.out) == (1, "")
    error = done.err.splitlines()[-1]
    assert error.startswith(f"error: {small_disk}") and "No space left on device. Free some space" in error
    assert "CREATE TABLE" not in done.err
