"""Shows what spans hold."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import click

from ci import formatting
from ci.outcome import Outcome, command
from ci.streams import one_line
from pipeline.config import Config
from pipeline.data import inspection
from pipeline.data import spans as published_spans
from pipeline.data.inspection import Contents, Image, Inspection
from pipeline.formatting import counted
from pipeline.storage.factory import open_storage

GROUP = "images"

MOST = 100  # sets of images in the JSON


@command
@click.option("--spans", default="all", show_default=True, help="Which ones: 1,2 or all or latest:N.")
def inspect(config: Config, spans: str) -> Outcome:
    """Shows what spans hold: labels, corrections, images that look alike, and how a span differs from those before.

    Images that look alike under different labels are named first, since one of the labels may be wrong: `relabel`.
    """
    storage = open_storage(config.workspace)
    present = published_spans.published(storage)
    chosen = published_spans.select(spans, present)
    found = inspection.inspect(storage, [span for span in present if span.number in chosen])
    alike = sum(map(len, found.alike))
    return Outcome(
        "\n".join(lines(found)) or "There is no span yet: see `python -m ci import-images --help`.",
        spans=[dataclasses.asdict(contents) for contents in found.contents],
        images_alike=alike,
        alike=[as_json(images) for images in found.alike[:MOST]],
        contradicting=[as_json(images) for images in found.contradicting[:MOST]],
    )


def as_json(images: Sequence[Image]) -> list[dict[str, object]]:
    return [dataclasses.asdict(image) for image in images]


def lines(found: Inspection) -> Iterator[str]:
    """Yields what people read of an inspection."""
    for contents in found.contents:
        yield from span_lines(contents)
    if found.alike:
        yield f"{counted(sum(map(len, found.alike)), 'image')} in {counted(len(found.alike), 'set')} that look alike."
    if found.contradicting:
        yield f"{counted(len(found.contradicting), 'set')} of these with different labels, of which one may be wrong:"
        yield from (f"  {contradiction(images)}" for images in found.contradicting[: formatting.SHOWN])
        if more := found.contradicting[formatting.SHOWN :]:
            yield f"  and {len(more):,} more"


def contradiction(images: Sequence[Image]) -> str:
    """'cat 9, dog 1: dog/7.jpg of span 2': how often each label is there, and the images of the rarest one."""
    labels = Counter(image.label for image in images)
    rarest = labels.most_common()[-1][0]
    named = [one_line(f"{image.name} of span {image.span}") for image in images if image.label == rarest]
    return f"{formatting.labels(labels)}: {formatting.shortened(named)}"


def span_lines(contents: Contents) -> Iterator[str]:
    """Yields what people read of a span."""
    splits = ", ".join(f"{images:,} for {side}" for side, images in contents.splits.items())
    also = [
        counted(contents.groups, "group") if contents.groups else "",
        f"{contents.relabelled:,} relabelled" if contents.relabelled else "",
        f"{contents.withdrawn:,} withdrawn" if contents.withdrawn else "",
    ]
    yield f"span {contents.span}: {'; '.join(filter(None, [counted(contents.images, 'image'), splits, *also]))}"
    yield f"  {formatting.labels(contents.labels)}"
    if drift := contents.drift:
        yield (
            f"  against the spans before, from 0, the same, to 1: brightness {drift.brightness:.2f}, contrast"
            f" {drift.contrast:.2f}, shares of labels {drift.labels:.2f} ({one_line(drift.label)})"
        )
