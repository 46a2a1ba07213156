"""Makes a span of collected images and trains on it."""

import click

from ci.commands import prepare_span, train
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.orchestrators import local

GROUP = "models"


@command
@click.option("--spans", default="all", show_default=True, help="Spans to train on: 1,2 or all or latest:N.")
def retrain(config: Config, spans: str) -> Outcome:
    """Runs the retraining pipeline: prepares a span of what is collected, then trains on the chosen spans."""
    outcome = local.retrain(config, spans)
    if outcome.training:
        training = train.summary(outcome.training)
    else:
        training = "No training: the newest span was trained on already."
    return Outcome(f"{prepare_span.summary(outcome.prepared)}\n{training}", **outcome.to_json())
