"""A model, trained and judged; released if it is good enough."""

import click

from ci.outcome import Outcome, command
from pipeline import local_runner
from pipeline.config import Config


@command
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
def train(config: Config, spans: str) -> Outcome:
    """Runs the training pipeline on this machine; a blessed model is released."""
    outcome = local_runner.train(config, spans)
    return Outcome(told(outcome), **outcome)


def told(outcome: dict) -> str:
    """Says how a training ended."""
    metrics = outcome["metrics"]
    lines = [f"Accuracy {metrics['accuracy']:.2%} of {metrics['images']} images, on spans {outcome['spans']}:"]
    current = outcome["current"]
    for span, accuracy in metrics["per_span"].items():
        before = f", {current['release']} had {current['metrics']['per_span'][span]:.2%}" if current else ""
        lines.append(f"  span {span}: {accuracy:.2%}{before}")
    if current and current["new_labels"]:
        lines.append(f"Labels that {current['release']} did not know: {', '.join(current['new_labels'])}.")
    if outcome["blessed"]:
        lines.append(f"Released as {outcome['release']}.")
    else:
        lines.append(f"Not released: {'; '.join(outcome['reasons'])}.")
    return "\n".join(lines)
