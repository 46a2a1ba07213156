"""Where the loop stands, and what is to be done next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.data.incoming.collected import Waiting
from pipeline.errors import numbers
from pipeline.formatting import device_percent, percent
from pipeline.outcomes import EvaluationOutcome, TrainingOutcome


@dataclass(frozen=True)
class Next:
    """The next step: `action` is a command of `python -m ci`, or "wait"."""

    action: str
    why: str

    def command(self, in_cloud: bool) -> str:
        """Returns the action as it is typed: where the workspace is in a bucket, trainings run on Vertex AI."""
        return SUBMITTED.get(self.action, self.action) if in_cloud else self.action


SUBMITTED = {"train": "submit --pipeline training", "retrain": "submit --pipeline retraining"}


def next_step(
    spans: Collection[int],
    trained: Collection[int],
    releases: Sequence[str],
    waiting: Waiting,
    last_evaluation: EvaluationOutcome | None,
    last_training: TrainingOutcome | None = None,
    corrected: Collection[int] = (),
) -> Next:
    """Decides from what there is.

    `spans` are published, `trained` are those in a training report, `releases` are tags, newest first. `waiting` is
    what is collected. `corrected` are those of `trained` that were corrected since.
    """
    if not spans:
        if waiting.images:
            return Next("retrain", f"{waiting.images:,} images are collected, but there is no span yet")
        return Next("import-images", "there is no span yet")
    untrained = set(spans).difference(trained)
    if not releases:
        untrained.update(corrected)
        if untrained:
            return Next("train", f"no model was trained on span {numbers(untrained)} yet")
        return Next("import-images", _no_release(last_training))
    if max(spans) in untrained:
        return Next("retrain", f"no model was trained on span {max(spans)} yet")
    if corrected:
        return Next("train", f"span {numbers(corrected)} was corrected since the last training on it")
    if not waiting.images:
        return Next("wait", "no new images are collected")
    if last_evaluation is None or last_evaluation.release != releases[0]:
        return Next("evaluate", f"{releases[0]} was not evaluated on the {waiting.images:,} collected images yet")
    if last_evaluation.waiting != waiting.digest:
        before = last_evaluation.collected
        return Next("evaluate", f"{waiting.images:,} images are collected, not the {before:,} of the last evaluation")
    if not last_evaluation.images:
        return Next(
            "wait",
            f"none of the {waiting.images:,} collected images can be evaluated: `python -m ci clear-collected` moves"
            " them away",
        )
    device = device_percent(last_evaluation.device and last_evaluation.device.accuracy)
    right = f"{percent(last_evaluation.accuracy)} of the collected images right{device}"
    if last_evaluation.should_retrain:
        return Next("retrain", f"{releases[0]} gets only {right}")
    return Next("wait", f"{releases[0]} gets {right}")


def _no_release(training: TrainingOutcome | None) -> str:
    why = (
        "no model that was trained on these spans was good enough to be released: import more images, or change epochs,"
        " backbone, image_size or pretrained in the settings of the modules, or ACCURACY_THRESHOLD"
    )
    return f"{why}. What the last model needs most: {training.page}" if training and training.page else why
