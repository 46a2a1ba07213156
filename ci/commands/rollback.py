"""Takes back the last change of the endpoint and of devices."""

import click

from ci.commands import promote
from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.serving import rollout

GROUP = "Google Cloud"


@command
@click.option("--only", type=click.Choice(rollout.PARTS), help="Move one of them.")
def rollback(config: Config, only: str | None) -> Outcome:
    """Stops the canary; if there is none, returns to the release that was promoted before.

    Repeating the command changes nothing more. To go further back, name a release: `python -m ci promote TAG`.
    """
    done = rollout.roll_back(config, only, log)
    return Outcome(promote.summary(done, config), **done.to_json())
