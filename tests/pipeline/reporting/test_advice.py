import pytest

from pipeline.outcomes import CurrentModel, Metrics, SliceVerdict, TrainingOutcome
from pipeline.quality.release_gate import Requirements
from pipeline.quality.scores import Evaluation
from pipeline.reporting.advice import advice

NEEDED = Requirements(0.8, 0.02, 0.01)
MIXED = Evaluation({("cat", "cat"): 5, ("dog", "dog"): 2, ("dog", "cat"): 3})


def refused(accuracy=0.7, **fields):
    return TrainingOutcome((1,), False, Metrics(accuracy, 10), reasons=("overall: too low",), **fields)


def epochs(*pairs):
    return [{"accuracy": train, "val_accuracy": validation} for train, validation in pairs]


def said(outcome=None, curves=(), evaluation=MIXED):
    return " ".join(advice(outcome or refused(), NEEDED, curves, evaluation))


def test_a_released_model_needs_no_advice():
    assert advice(TrainingOutcome((1,), True, Metrics(0.9, 10), "model-1"), NEEDED, (), MIXED) == []


def test_more_epochs_help_while_accuracy_rises():
    rising = epochs((0.3, 0.3), (0.5, 0.5), (0.6, 0.6), (0.7, 0.7))
    flat = epochs((0.3, 0.3), (0.7, 0.7), (0.7, 0.7), (0.7, 0.7))

    assert "More epochs" in said(curves=rising) and "More epochs" not in said(curves=flat)


@pytest.mark.parametrize("validation, word", [(0.6, "dropout"), (0.9, "larger backbone")])
def test_what_was_learned_by_heart_needs_more_images_and_what_was_not_learned_a_larger_network(validation, word):
    assert word in said(curves=epochs((0.95, validation), (0.95, validation), (0.95, validation)))


def test_a_network_that_always_answers_the_same_needs_a_lower_learning_rate():
    constant = Evaluation({("cat", "cat"): 5, ("dog", "cat"): 5})

    assert "learning_rate" in said(evaluation=constant) and "learning_rate" not in said()


def test_the_threshold_is_named_with_what_it_means():
    assert "ACCURACY_THRESHOLD=0.77 would release it" in said(refused(0.777))
    assert "22 images in 100 may be wrong" in said(refused(0.777))
    assert "ACCURACY_THRESHOLD" not in said(refused(0.9))


def test_margin_and_floor_are_named_where_they_decided():
    never = SliceVerdict("label", "defect", 12, 0, 0, finding="within chance")
    outcome = TrainingOutcome(
        (1,),
        False,
        Metrics(0.9, 10),
        reasons=("span 1: 1 of 10 right, model-1 10 of 10: worse than chance explains",),
        current=CurrentModel("model-1", Metrics(0.9, 10)),
        slices=(never,),
    )

    assert "ACCURACY_MARGIN" in said(outcome) and "LABEL_FLOOR=0" in said(outcome)
    assert "ACCURACY_MARGIN" not in said() and "LABEL_FLOOR" not in said()
