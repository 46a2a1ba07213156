"""What is set, to what, from where, and what it means."""

import os

from ci.outcome import Outcome, command
from pipeline.config import Config


@command
def config(config: Config) -> Outcome:
    """Prints every setting, its value, where it came from and what it is."""
    settings = list(config.settings(os.environ))
    widths = [max(len(setting[column]) for setting in settings) for column in range(3)]
    lines = ("  ".join([*map(str.ljust, setting[:3], widths), setting.meaning]) for setting in settings)
    return Outcome("\n".join(lines), settings=[setting._asdict() for setting in settings])
