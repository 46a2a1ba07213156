import collections

import pytest

from pipeline.quality.scores import Evaluation, Prediction, Score, score, wilson


def evaluation_of(truth: list[str], predicted: list[str]) -> Evaluation:
    return Evaluation(collections.Counter(zip(truth, predicted, strict=True)))


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (50, 100, 0.4038, 0.5962),
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (263, 500, 0.4822, 0.5694),
    ],
)
def test_the_interval_is_that_of_the_tables(correct, images, low, high):
    assert wilson(correct, images) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_never_leaves_0_and_1_and_holds_the_accuracy():
    for images in (1, 2, 3, 7, 30, 997, 10**6):
        for correct in {0, 1, images // 3, images - 1, images}:
            low, high = wilson(correct, images)
            assert 0 <= low <= correct / images <= high <= 1


def test_numbers_are_those_that_one_counts_by_hand():
    evaluation = evaluation_of(["cat", "cat", "cat", "dog", "dog", "eel"], ["cat", "dog", "cat", "dog", "cat", "dog"])

    assert (evaluation.correct, evaluation.images, evaluation.accuracy) == (3, 6, 0.5)
    assert evaluation.per_label == {"cat": Score(2, 3), "dog": Score(1, 2), "eel": Score(0, 1)}
    assert evaluation.labels == ["cat", "dog", "eel"]
    assert evaluation.mistakes == [("cat", "dog", 1), ("dog", "cat", 1), ("eel", "dog", 1)]
    assert evaluation.interval == pytest.approx((0.1876, 0.8124), abs=1e-4)


def test_a_label_that_is_only_ever_predicted_has_no_accuracy():
    evaluation = evaluation_of(["cat"], ["dog"])

    assert evaluation.labels == ["cat", "dog"]
    assert list(evaluation.per_label) == ["cat"]


def test_without_images_there_is_no_accuracy():
    evaluation = evaluation_of([], [])

    assert (evaluation.images, evaluation.accuracy, evaluation.interval) == (0, None, None)
    assert evaluation.per_label == {}


def test_the_most_frequent_mistake_comes_first():
    evaluation = Evaluation({("4", "9"): 2, ("7", "1"): 5, ("1", "1"): 90, ("9", "4"): 2})

    assert evaluation.mistakes == [("7", "1", 5), ("4", "9", 2), ("9", "4", 2)]


def test_the_most_confident_mistakes_are_kept_of_a_stream():
    stream = (Prediction(f"{n}", "a", b"", "a" if n % 10 else "b", n / 1000) for n in range(1000))

    evaluation, mistakes = score(stream, worst=3)

    assert (evaluation.correct, evaluation.images) == (900, 1000)
    assert [mistake.name for mistake in mistakes] == ["990", "980", "970"]
