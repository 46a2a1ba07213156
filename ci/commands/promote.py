"""Gives a release all of the endpoint's traffic."""

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.outcomes import ServingOutcome
from pipeline.serving import endpoint

GROUP = "Google Cloud"


@command
@click.argument("tag", required=False)
def promote(config: Config, tag: str | None) -> Outcome:
    """Gives the release TAG all traffic of the endpoint, and undeploys what was served before.

    Without TAG it promotes the canary; if there is none, the newest release. A release that was rolled back is promoted
    again only by its TAG.
    """
    done = endpoint.promote(config, tag, log)
    return Outcome(summary(done, config.endpoint), **done.to_json())


def summary(done: ServingOutcome, name: str) -> str:
    """Returns the traffic of the endpoint `name` as text."""
    served = ", ".join(f"{model} {share} %" for model, share in done.traffic.items())
    return f"{name}: {served}{'' if done.changed else ' (as it was already)'}."
