"""Trains and evaluates a model; releases it if it is good enough."""

import click

from ci.formatting import labels, rejected_lines
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.errors import numbers
from pipeline.formatting import counted, megabytes, milliseconds, percent
from pipeline.orchestrators import local
from pipeline.outcomes import DeviceOutcome, TrainingOutcome

GROUP = "models"


@command
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
def train(config: Config, spans: str) -> Outcome:
    """Runs the training pipeline on this machine; a blessed model is released."""
    outcome = local.train(config, spans)
    return Outcome(summary(outcome), **outcome.to_json())


def summary(outcome: TrainingOutcome) -> str:
    """Returns the outcome of a training as text."""
    metrics, current = outcome.metrics, outcome.current
    images = f"{counted(metrics.images, 'image')} of {'spans' if len(outcome.spans) > 1 else 'span'}"
    lines = [f"Accuracy {percent(metrics.accuracy)} on {images} {numbers(outcome.spans)}:"]
    spans = [verdict for verdict in outcome.slices if verdict.kind == "span"]
    lines += [f"  {verdict.sentence(current.release if current else '')}" for verdict in spans]
    if current and current.new_labels:
        lines.append(f"Labels that {current.release} did not know: {', '.join(current.new_labels)}.")
    if outcome.unlearned:
        lines.append(f"No image for training, so always wrong: {labels(outcome.unlearned)}.")
    if outcome.device:
        lines.append(device(outcome.device))
    if outcome.left_out:
        lines.append(f"{counted(len(outcome.left_out), 'image')} left out:")
        lines += rejected_lines(outcome.left_out)
        lines.append("Withdraw them: `python -m ci withdraw NAME --why broken`.")
    if outcome.blessed:
        lines.append(f"Released as {outcome.release}.")
    else:
        lines.append(f"Not released: {'; '.join(outcome.reasons)}.")
    if outcome.page:
        lines.append(f"Page: {outcome.page}")
    return "\n".join(lines)


def device(of: DeviceOutcome) -> str:
    """Returns a line about the device model and how often both models agree."""
    size, time = megabytes(of.bytes), milliseconds(of.milliseconds)
    return (
        f"Device model: accuracy {percent(of.metrics.accuracy)}, {size} as {of.quantization}, {time} for an image;"
        f" both models give the same label to {percent(of.agreement)} of the images."
    )
