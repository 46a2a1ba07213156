import dataclasses
import datetime

import pytest

from pipeline.outcomes import CurrentModel, Metrics, SliceVerdict, TrainingOutcome
from pipeline.quality.release_gate import Requirements
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.reporting.training_page import TrainingPage, training_page
from tests.pipeline.reporting.conftest import HOSTILE

NOW = datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone.utc)
SPAN = SliceVerdict("span", "2", 20, 12, 20, 8, 0, "worse than chance explains", 0.004, 0.01, (-0.6, -0.1), 0.31)
REFUSED = TrainingOutcome(
    spans=(1, 2),
    blessed=False,
    metrics=Metrics(0.7, 40, {"1": 0.8, "2": 0.6}, {"cat": 0.7}),
    reasons=(SPAN.sentence("model-3"), "overall: 28 of 40 right (70.0 %), below the threshold 80 %"),
    current=CurrentModel("model-3", Metrics(0.9, 40, {"1": 0.8, "2": 1.0}, {"cat": 0.9})),
    slices=(
        SliceVerdict("overall", "", 40, 28, 36, 9, 1, "within chance", 0.01, 0.025, (-0.3, 0.0), 0.12),
        SliceVerdict("span", "1", 20, 16, 16, 1, 1, "within chance", 0.7, 0.01, (-0.2, 0.2), 0.31),
        SPAN,
        SliceVerdict("label", "cat", 38, 28, 36, 9, 1, "within chance", 0.01, 0.01, (-0.3, 0.0), 0.13),
        SliceVerdict("label", "eel", 2, 0, 0, 0, 0, "too few images", 1.0, 0.0, (-0.7, 0.7)),
    ),
    unlearned={"eel": 2},
)
RELEASED = TrainingOutcome(
    (1,), True, Metrics(1.0, 4), "model-1", slices=(SliceVerdict("overall", "", 4, 4), SliceVerdict("span", "1", 4, 4))
)
CURVES = [{"loss": 2 - n / 5, "accuracy": n / 10, "val_loss": 2.1, "val_accuracy": n / 11} for n in range(1, 9)]


def shown(read, outcome, **fields):
    given = {"evaluation": Evaluation({("cat", "cat"): 28, ("cat", "dog"): 10, ("eel", "cat"): 2})} | fields
    return read(
        training_page(TrainingPage(outcome, Requirements(0.8, 0.02, 0.01), NOW, lineage={"commit": "c0ffee"}, **given))
    )


def test_a_refused_model_leaves_a_page_with_reasons_counts_and_what_to_try(read, png):
    mistakes = [Prediction("ab" * 32, "cat", png(), "dog", 0.99)]

    page = shown(read, REFUSED, mistakes=mistakes, curves=CURVES)

    assert page.asks_for() == []
    assert "28 of 40 images that were kept out of training. model-3 gets 36 of the same ones right." in page.text
    assert "Not released" in page.text
    assert "span 2: 12 of 20 right, model-3 20 of 20: worse than chance explains" in page.text
    assert "2 12 of 20 20 worse than chance explains 31.0 points" in page.texts("tr")
    assert "eel (no image for training) 0 of 2 0 too few images –" in page.texts("tr")
    assert "seen as dog, 99 %" in page.text and len(page.all("img")) == 1
    assert len(page.all("polyline")) == 4
    tried = " ".join(page.texts("li"))
    for word in (
        "epochs",
        "backbone",
        "image_size",
        "pretrained",
        "eel",
        "cat (28 of 38 right)",
        "ACCURACY_THRESHOLD=0.7",
    ):
        assert word in tried
    assert "30 images in 100 may be wrong" in tried


def test_what_could_have_been_shown_is_said(read):
    page = shown(read, REFUSED)

    facts = dict(zip(page.texts("dt"), page.texts("dd"), strict=True))
    assert facts["loss that these images would have shown"] == "12.0 points"
    assert facts["loss that is allowed (ACCURACY_MARGIN)"] == "2 points"


def test_a_released_model_has_a_page_without_advice(read):
    page = shown(read, RELEASED, evaluation=Evaluation({("cat", "cat"): 4}))

    assert "Released as model-1" in page.text
    assert "What to try" not in page.text and "McNemar" not in page.text and "taken for what" not in page.text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_label_does_nothing(read, hostile):
    outcome = dataclasses.replace(
        REFUSED,
        reasons=(hostile,),
        slices=(*REFUSED.slices, SliceVerdict("label", hostile, 10, 0, 0, finding="within chance")),
        unlearned={hostile: 1},
    )

    page = shown(read, outcome, evaluation=Evaluation({(hostile, "cat"): 3, ("cat", hostile): 2}), curves=CURVES)

    assert page.asks_for() == []


def test_many_slices_are_cut_to_the_worst(read):
    labels = [SliceVerdict("label", f"label-{n}", 20, n % 20) for n in range(150)]

    page = shown(read, dataclasses.replace(RELEASED, slices=(*RELEASED.slices, *labels)))

    assert "The 100 of 150 that are worst" in page.text
    assert "label-19 " not in page.text
