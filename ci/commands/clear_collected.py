"""Collected images that no evaluation can use, moved away."""

from ci.formatting import conflicts, rejections
from ci.outcome import Outcome, command
from ci.progress import Count
from pipeline.config import Config
from pipeline.data import spans
from pipeline.formatting import counted
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
def clear_collected(config: Config) -> Outcome:
    """Moves away collected images that cannot be used, that are there twice, or that a span has already.

    All others stay, and those that came under two labels are named.
    `retrain` and `prepare-span` do the same when they make a span.
    """
    with Count("Looking at images") as progress:
        cleared = spans.clear_collected(open_storage(config.workspace), progress)
    lines = [f"{counted(cleared.archived, 'image')} that a span has already: moved to its archive."]
    lines += [*rejections(cleared.rejected), *conflicts(cleared.conflicts, waiting=True)]
    return Outcome(
        "\n".join(lines),
        archived=cleared.archived,
        rejected=[bad.to_json() for bad in cleared.rejected],
        conflicts=[conflict.to_json() for conflict in cleared.conflicts],
    )
