import collections
import dataclasses
import datetime

from pipeline.outcomes import EvaluationOutcome, Rejected
from pipeline.quality.scores import Evaluation, Prediction
from pipeline.reporting.evaluation_page import EvaluationPage, evaluation_page
from tests.pipeline.reporting.conftest import HOSTILE

NOW = datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone.utc)


def evaluation_of(truth: list[str], predicted: list[str]) -> Evaluation:
    return Evaluation(collections.Counter(zip(truth, predicted, strict=True)))


def shown(release, threshold: float, evaluation: Evaluation, mistakes=(), **fields) -> str:
    """The page about an evaluation of a release."""
    outcome = EvaluationOutcome(
        release=release.tag,
        images=evaluation.images,
        accuracy=evaluation.accuracy,
        interval=evaluation.interval,
        per_label={label: score.accuracy for label, score in evaluation.per_label.items()},
        should_retrain=evaluation.accuracy < threshold,
        threshold=threshold,
        collected=evaluation.images,
    )
    outcome = dataclasses.replace(outcome, **fields)
    return evaluation_page(EvaluationPage(release, NOW, outcome, evaluation, mistakes))


def test_a_page_is_well_formed_and_asks_for_nothing(release, png, read):
    truth = ["cat"] * 30 + ["dog"] * 20
    predicted = ["cat"] * 27 + ["dog"] * 3 + ["dog"] * 10 + ["cat"] * 10
    mistakes = [
        Prediction("cat/1.png", "cat", png(), "dog", 0.99),
        Prediction("cat/2.png", "cat", b"no image", "dog", 0.7),
    ]

    page = read(shown(release(), 0.8, evaluation_of(truth, predicted), mistakes))

    assert page.asks_for() == []
    assert len(page.all("img")) == 1


def test_the_numbers_are_those_given(release, read):
    evaluation = evaluation_of(["cat"] * 30 + ["dog"] * 20, ["cat"] * 27 + ["dog"] * 13 + ["cat"] * 10)
    left_out = {"unusable": 2, "skipped": (Rejected("a/cut.jpg", "cut off"),), "duplicates": 3, "in_spans": 1234}

    page = read(shown(release(), 0.8, evaluation, **left_out))

    assert "37 of 50 images right: below the 80 % that is needed. Retrain" in page.text
    assert "74.0 %" in page.text and "60.4 to 84.1 %" in page.text
    assert "cat 90.0 % 30 74.4 to 96.5 %" in page.text
    assert {"27", "3", "10"} <= set(page.texts("td"))
    assert "1,234" in page.text and "a/cut.jpg" in page.text and "The first 1 of 2" in page.text
    assert "ab" * 32 in page.text and "9d" * 32 in page.text


def test_a_model_at_the_threshold_is_kept(release, read):
    page = read(shown(release(), 0.5, evaluation_of(["cat", "dog"], ["cat", "cat"])))

    assert "reaches the 50 % that is needed. Keep the model" in page.text


def test_hostile_labels_and_names_are_shown_and_do_nothing(release, png, read):
    evaluation = evaluation_of(HOSTILE, HOSTILE[1:] + HOSTILE[:1])
    mistakes = [Prediction(name, name, png(), name, 0.5) for name in HOSTILE]
    left_out = {"unusable": 1, "skipped": (Rejected(HOSTILE[1], HOSTILE[0]),), "unknown_labels": {HOSTILE[0]: 1}}

    page = read(shown(release(HOSTILE[0]), 0.8, evaluation, mistakes, **left_out))

    assert page.asks_for() == []
    for label in HOSTILE:
        assert label in page.text


def test_names_that_are_no_text_become_replacement_characters(release, png, read):
    mistakes = [Prediction("a\x00b\x1b[31m\udcff.png", "cat", png(), "dog", 0.5)]

    page = read(shown(release(), 0.8, evaluation_of(["cat"], ["dog"]), mistakes))

    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}.png" in page.text


def test_a_label_that_the_model_does_not_know_is_named(release, read):
    evaluation = evaluation_of(["cat", "fox"], ["cat", "dog"])

    page = read(shown(release(), 0.8, evaluation, unknown_labels={"fox": 1}))

    assert "model-1 does not know fox: each image of it counts as wrong" in page.text


def test_hundreds_of_labels_get_a_list_instead_of_a_matrix_and_large_pictures_are_shrunk(release, png, read):
    labels = [f"label {n:03d}" for n in range(400)]
    evaluation = evaluation_of(labels * 2, [labels[0]] * 400 + labels)
    mistakes = [Prediction(f"{n}.png", labels[n + 1], png(3000, 2000), labels[0], 0.9) for n in range(24)]

    html = shown(release(), 0.8, evaluation, mistakes)

    assert "400 labels are too many for a matrix" in read(html).text
    assert len(html) < 500_000
