"""Where the loop stands, and what is to be done next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.errors import numbers
from pipeline.formatting import percent
from pipeline.outcomes import EvaluationOutcome


@dataclass(frozen=True)
class Next:
    """The next step: `action` is a command of `python -m ci`, or "wait"."""

    action: str
    why: str


def next_step(
    spans: Collection[int],
    trained: Collection[int],
    releases: Sequence[str],
    collected: int,
    last_evaluation: EvaluationOutcome | None,
) -> Next:
    """Decides from what there is.

    `spans` are published, `trained` are those in a training report, `releases` are tags, newest first. `collected`
    images wait.
    """
    if not spans:
        if collected:
            return Next("retrain", f"{collected:,} images are collected, but there is no span yet")
        return Next("import-images", "there is no span yet")
    untrained = set(spans).difference(trained)
    if not releases:
        if untrained:
            return Next("train", f"no model was trained on span {numbers(untrained)} yet")
        return Next("import-images", "no model that was trained on these spans was good enough to be released")
    if max(spans) in untrained:
        return Next("retrain", f"no model was trained on span {max(spans)} yet")
    if not collected:
        return Next("wait", "no new images are collected")
    if last_evaluation is None or last_evaluation.release != releases[0]:
        return Next("evaluate", f"{releases[0]} was not evaluated on the {collected:,} collected images yet")
    if last_evaluation.collected != collected:
        before = last_evaluation.collected
        return Next("evaluate", f"{collected:,} images are collected, {before:,} at the last evaluation")
    right = f"{percent(last_evaluation.accuracy)} of the collected images right"
    if last_evaluation.should_retrain:
        return Next("retrain", f"{releases[0]} gets only {right}")
    return Next("wait", f"{releases[0]} gets {right}")
