"""Makes a span of collected images."""

from ci.formatting import conflicts, dark_images, labels, near_duplicates, rejections
from ci.outcome import Outcome, command
from ci.progress import Count
from pipeline.config import Config
from pipeline.data import spans
from pipeline.data.groups import group_of
from pipeline.formatting import counted
from pipeline.outcomes import PreparedSpan
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
def prepare_span(config: Config) -> Outcome:
    """Makes a span of all collected images."""
    with Count("Preparing a span") as progress:
        prepared = spans.prepare(open_storage(config.workspace), progress, group_of(config.modules))
    return Outcome(summary(prepared), **prepared.to_json())


def summary(prepared: PreparedSpan) -> str:
    """Returns the outcome of preparing a span as text."""
    if prepared.span is None:
        lines = ["Nothing to do: no new image is collected."]
    else:
        lines = [f"{counted(prepared.images, 'image')} became span {prepared.span}: {labels(prepared.labels)}."]
    if prepared.duplicates:
        lines.append(f"{counted(prepared.duplicates, 'duplicate')} of images in a span went to the archive.")
    lines += conflicts(prepared.conflicts)
    lines += near_duplicates(prepared.near_duplicates, prepared.alike)
    lines += dark_images(prepared.dark)
    return "\n".join([*lines, *rejections(prepared.rejected)])
