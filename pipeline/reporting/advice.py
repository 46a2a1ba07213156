"""What to try when a model is not good enough: the settings and images that its numbers point to."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.formatting import counted, listed, percent, threshold
from pipeline.outcomes import SliceVerdict, TrainingOutcome
from pipeline.quality.comparison import LEAST_IMAGES
from pipeline.quality.release_gate import Requirements
from pipeline.quality.scores import Evaluation

SETTINGS = "settings.py of the modules"
MOST_LABELS = 5  # that are named
RISING = 0.01  # accuracy gained in the last third of the epochs that says: not at its end
GAP = 0.1  # accuracy on training images above that on others that says: learned by heart


def advice(
    outcome: TrainingOutcome,
    requirements: Requirements,
    curves: Sequence[Mapping[str, float]],
    evaluation: Evaluation,
) -> list[str]:
    """Returns sentences, the most promising first; none for a model that was released."""
    if outcome.blessed:
        return []
    return [
        *_about_training(curves, evaluation),
        *_about_images(outcome),
        *_about_requirements(outcome, requirements),
    ]


def _about_training(curves: Sequence[Mapping[str, float]], evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.per_label) > 1 and len({predicted for _, predicted in evaluation.confusion}) == 1:
        yield f"The network always gives the same answer: lower learning_rate in {SETTINGS}."
    reached = [epoch["val_accuracy"] for epoch in curves if "val_accuracy" in epoch]
    late = reached[-max(2, len(reached) // 3) :]
    if len(reached) > 2 and late[-1] - late[0] > RISING or not curves:
        yield (
            f"More epochs ({SETTINGS}): accuracy was still rising when training ended."
            if curves
            else (f"More epochs ({SETTINGS}).")
        )
    last = curves[-1] if curves else {}
    if last.get("accuracy", 0) - last.get("val_accuracy", 1) > GAP:
        yield (
            f"More images, pretrained=True with another backbone, or more dropout ({SETTINGS}): the network is right"
            f" on {percent(last['accuracy'])} of the images that it was trained on and on"
            f" {percent(last['val_accuracy'])} of others."
        )
    else:
        yield (
            f"A larger backbone (mobilenet_v3, densenet121), pretrained=True, or a larger image_size ({SETTINGS}):"
            " the network may be too small for these images, or see too little of them."
        )


def _about_images(outcome: TrainingOutcome) -> Iterator[str]:
    if outcome.unlearned:
        names = sorted(outcome.unlearned)
        more = f" and {len(names) - MOST_LABELS:,} more" if len(names) > MOST_LABELS else ""
        yield f"More images of {', '.join(names[:MOST_LABELS])}{more}: there is none for training."
    worst = sorted(
        (
            of
            for of in outcome.slices
            if of.kind == "label" and of.name not in outcome.unlearned and of.right < of.images
        ),
        key=lambda of: of.right / of.images,
    )[:MOST_LABELS]
    if worst:
        yield f"More images of the labels that it is worst at: {listed(map(_counts, worst))}."


def _counts(of: SliceVerdict) -> str:
    return f"{of.name} ({of.right:,} of {of.images:,} right)"


def _about_requirements(outcome: TrainingOutcome, needed: Requirements) -> Iterator[str]:
    accuracy = outcome.metrics.accuracy
    if accuracy is not None and 0 < accuracy < needed.threshold:
        wrong = max(1, round(100 * (1 - accuracy)))
        reached = int(accuracy * 100) / 100
        yield (
            f"ACCURACY_THRESHOLD={reached:g} would release it. It means that {counted(wrong, 'image')} in 100 may be"
            f" wrong, and that collected images call for retraining below {threshold(reached)} only."
        )
    if any(of.kind == "label" and of.right == 0 and of.images >= LEAST_IMAGES for of in outcome.slices):
        yield "LABEL_FLOOR=0 would let it pass although it never gets some labels right."
    if outcome.current and any("worse than chance" in reason for reason in outcome.reasons):
        yield (
            f"ACCURACY_MARGIN ({threshold(needed.margin)} now) is the loss against {outcome.current.release} that you"
            " accept, overall and on each span and label."
        )
