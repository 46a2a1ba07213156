"""Copies the user's modules to the workspace, so that a change of them needs no new image."""

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.packaging import wheel

GROUP = "Google Cloud"


@command
def copy_modules(config: Config) -> Outcome:
    """Copies modules/ to the workspace as a wheel whose path contains the hash of its content."""
    copied = wheel.copy(config)
    return Outcome(f"{copied.package} is {copied.wheel}.", digest=copied.digest, address=copied.wheel)
