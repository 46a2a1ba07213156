"""What was collected, made into a span and trained on."""

import click

from ci.commands.prepare_span import told as told_of_span
from ci.commands.train import told as told_of_training
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.orchestrators import local


@command
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
def retrain(config: Config, spans: str) -> Outcome:
    """Runs the retraining pipeline: prepares a span of what is collected, then trains on the chosen spans."""
    outcome = local.retrain(config, spans)
    training = told_of_training(outcome) if outcome["spans"] else "No training: the newest span was trained on already."
    return Outcome(f"{told_of_span(outcome)}\n{training}", **outcome)
