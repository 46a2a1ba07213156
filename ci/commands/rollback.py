"""The last step on the endpoint, taken back."""

from ci.commands import promote
from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.serving import endpoint

GROUP = "Google Cloud"


@command
def rollback(config: Config) -> Outcome:
    """Stops the release that is being tried; if there is none, returns to the one that was promoted before.

    Asking twice takes one step back. To go further, name a release: `python -m ci promote TAG`.
    """
    done = endpoint.roll_back(config, log)
    return Outcome(promote.summary(done, config.endpoint), **done.to_json())
