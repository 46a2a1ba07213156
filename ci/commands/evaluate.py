"""Evaluates the released model on collected images."""

import math
from functools import partial

import click

from ci.formatting import SHOWN, conflicts, labels
from ci.outcome import Outcome, command
from ci.progress import Count, log
from ci.streams import one_line
from pipeline.batch import evaluation, here
from pipeline.batch.predictor import OpenPredictor
from pipeline.config import Config
from pipeline.formatting import counted, percent, threshold
from pipeline.outcomes import DeviceEvaluation, EvaluationOutcome

GROUP = "models"


@command
@click.option(
    "--accuracy-threshold",
    metavar="T",
    type=click.FloatRange(0, 1),
    help="Accuracy below which collected data call for retraining.  [default: ACCURACY_THRESHOLD]",
)
@click.option(
    "--on",
    "where",
    type=click.Choice(["here", "vertex"]),
    default="here",
    show_default=True,
    help="Where the model runs: on this machine, or as a batch prediction job on Vertex AI.",
)
def evaluate(config: Config, accuracy_threshold: float | None, where: str) -> Outcome:
    """Evaluates the newest release on all collected images and writes a report.

    Images that are in a span already are left out, and so are those that cannot be used: they stay where they are.
    """
    needed = config.accuracy_threshold if accuracy_threshold is None else accuracy_threshold
    if math.isnan(needed):
        raise click.BadParameter("nan is not in the range 0<=x<=1.", param_hint="'--accuracy-threshold'")
    with Count("Evaluating") as progress:
        found = evaluation.evaluate(config, needed, progress, open_predictor(config, where))
    return Outcome("\n".join([*verdict(found), *left_out(found)]), **found.to_json())


def open_predictor(config: Config, where: str) -> OpenPredictor:
    """Returns what opens the model, on this machine or on Vertex AI. Raises MissingSettings."""
    if where == "here":
        return partial(here.predictor, log=log)
    config.require("workspace", "project", "region")
    from pipeline.batch import on_vertex  # imports Google's clients

    return partial(on_vertex.predictor, log=log)


def verdict(found: EvaluationOutcome) -> list[str]:
    """Returns lines about the accuracy and whether to retrain."""
    release = found.release
    if not found.images:
        return [f"Nothing to evaluate {release} on: no new image is collected."]
    images, interval = counted(found.images, "image"), " to ".join(map(percent, found.interval))
    needed = threshold(found.threshold)
    lines = [
        f"{release} gets {percent(found.accuracy)} of {images} right (95 % interval: {interval}).",
        f"Below {needed}: time for `python -m ci retrain`." if found.below else f"At least {needed}: fine.",
    ]
    if found.device:
        lines += device_verdict(found.device)
    if found.unknown_labels:
        lines.append(f"{release} does not know {labels(found.unknown_labels)}: they count as wrong.")
    return [*lines, f"Report: {found.report}"]


def device_verdict(found: DeviceEvaluation) -> list[str]:
    """Returns lines about the device model on the same images."""
    interval, needed = " to ".join(map(percent, found.interval)), threshold(found.threshold)
    return [
        f"Its device model gets {percent(found.accuracy)} of them right (95 % interval: {interval}); both models give"
        f" the same label to {percent(found.agreement)}.",
        f"Below {needed}: time for `python -m ci retrain`." if found.below else f"At least {needed}: fine.",
    ]


def left_out(found: EvaluationOutcome) -> list[str]:
    """Returns lines about images that were left out, and why; none when there are none."""
    lines = conflicts(found.conflicts, waiting=True)
    if found.in_spans:
        lines.append(f"Left out: {counted(found.in_spans, 'image')} that a span has already.")
    if found.duplicates:
        lines.append(f"Left out: {counted(found.duplicates, 'image')} with the same bytes as another one.")
    if found.unusable:
        lines.append(
            f"Left out: {counted(found.unusable, 'image')} that cannot be used; clear-collected moves them away:"
        )
        lines += [f"  {one_line(bad.name)}: {one_line(bad.reason)}" for bad in found.skipped[:SHOWN]]
        if found.unusable > SHOWN:
            lines.append(f"  and {found.unusable - SHOWN:,} more")
    return lines
