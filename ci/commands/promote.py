"""A release gets all of the endpoint's traffic."""

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

    Without TAG it is the release that is being tried with a share of the traffic; if there is none, the newest. What
    was rolled back is promoted again only by its name.
    """
    done = endpoint.promote(config, tag, log)
    return Outcome(summary(done, config.endpoint), **done.to_json())


def summary(done: ServingOutcome, name: str) -> str:
    """Returns what the endpoint `name` serves now, for people."""
    served = ", ".join(f"{model} {share} %" for model, share in done.traffic.items())
    return f"{name}: {served}{'' if done.changed else ' (as it was already)'}."
