"""The user's modules, where pipelines on Vertex AI find them: no image is built for a change of theirs."""

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.packaging import wheel

GROUP = "Google Cloud"


@command
def copy_modules(config: Config) -> Outcome:
    """Copies modules/ to the workspace, as a wheel that is addressed by its content."""
    copied = wheel.copy(config)
    return Outcome(f"{copied.package} is {copied.wheel}.", digest=copied.digest, address=copied.wheel)
