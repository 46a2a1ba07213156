"""Takes back the last change of the endpoint."""

from ci.commands import promote
from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.serving import endpoint

GROUP = "Google Cloud"


@command
def rollback(config: Config) -> Outcome:
    """Stops the canary; if there is none, returns to the release that was promoted before.

    Repeating the command changes nothing more. To go further back, name a release: `python -m ci promote TAG`.
    """
    done = endpoint.roll_back(config, log)
    return Outcome(promote.summary(done, config.endpoint), **done.to_json())
