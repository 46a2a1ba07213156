"""Counts collected images, to decide whether there are enough for an evaluation."""

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data.incoming import collected
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.option(
    "--threshold", type=click.IntRange(min=1), required=True, help="Images that are enough for an evaluation."
)
def count_collected(config: Config, threshold: int) -> Outcome:
    """Counts collected images, no further than the threshold."""
    counted = collected.count_up_to(open_storage(config.workspace), threshold)
    enough = counted >= threshold
    return Outcome(
        f"{counted:,} of {threshold:,} images: {'enough to evaluate' if enough else 'wait for more'}.",
        counted=counted,
        enough=enough,
    )
