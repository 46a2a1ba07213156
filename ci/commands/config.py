"""All settings: value, origin and meaning."""

import itertools
import os

from ci.outcome import Outcome, command
from pipeline.config import Config

GROUP = "models"


@command
def config(config: Config) -> Outcome:
    """Prints every setting, its value, where it came from and what it is."""
    settings = list(config.settings(os.environ))
    widths = [max(len(setting[column]) for setting in settings) for column in range(3)]
    blocks = []
    for group, members in itertools.groupby(settings, key=lambda setting: setting.group):
        lines = ("  ".join(["", *map(str.ljust, setting[:3], widths), setting.meaning]) for setting in members)
        blocks.append("\n".join([group, *lines]))
    return Outcome("\n\n".join(blocks), settings=[setting._asdict() for setting in settings])
