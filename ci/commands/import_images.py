"""Imports a folder of labelled images."""

import contextlib
import tempfile
from collections.abc import Iterator

import click

from ci.formatting import conflicts, dark_images, labels, near_duplicates, rejections
from ci.outcome import Outcome, command
from ci.progress import Count
from pipeline.config import Config
from pipeline.data import digits, spans
from pipeline.data.groups import group_of
from pipeline.data.incoming import collected
from pipeline.errors import UsageError
from pipeline.formatting import counted
from pipeline.outcomes import PreparedSpan
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--collect", is_flag=True, help="Copy them to collected/, as if they had just arrived, and make no span.")
@click.option("--demo", is_flag=True, help="Handwritten digits in place of DIR; with --collect from a changed camera.")
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Leave out the first digits of the demo.")
@click.option("--limit", type=click.IntRange(min=1), help="Take no more digits of the demo than this.")
@click.option("--corrections", is_flag=True, help="Labels here are right: relabel images that a span has otherwise.")
@click.option("--convert", is_flag=True, help="Make PNGs of WebP, HEIC, AVIF, GIF, BMP and TIFF images.")
@click.option(
    "--label-separator",
    "separator",
    metavar="first|last|TEXT",
    default="",
    help="Where labels end in names outside of folders: the first or last underscore, or a text.",
)
def import_images(
    config: Config,
    folder: str | None,
    collect: bool,
    demo: bool,
    skip: int,
    limit: int | None,
    corrections: bool,
    convert: bool,
    separator: str,
) -> Outcome:
    """Makes a span of the labelled images in DIR, or of those that DIR/list.csv or list.jsonl names.

    DIR holds <label>/<name>.jpg or <label>_<name>.jpg, JPEG or PNG; a list holds image,label[,group]. Both may be on
    gs://. They stay as they are; images that are in a span already are left out.
    """
    if collect and corrections:
        raise UsageError("--corrections is for images of a span: leave --collect out.")
    if demo == bool(folder):
        raise UsageError("Name either a folder of images or --demo: see `python -m ci import-images --help`.")
    if not demo and (skip or limit):
        raise UsageError("--skip and --limit choose among the digits of --demo: leave them out, or DIR.")
    storage = open_storage(config.workspace)
    camera = digits.CHANGED if collect else digits.FIRST
    given = demo_folder(camera, skip, limit) if demo else contextlib.nullcontext(folder)
    with given as images, Count("Collecting" if collect else "Importing") as progress:
        if collect:
            found = collected.add(storage, images, progress, separator, convert)
        else:
            groups = group_of(config.modules)
            found = spans.import_folder(storage, images, progress, groups, separator, corrections, convert)
    lines = [
        *summary_lines(found, collect),
        *conflicts(found.conflicts),
        *near_duplicates(found.near_duplicates, found.alike),
        *dark_images(found.dark),
        *rejections(found.rejected),
    ]
    fields = found.to_json()
    return Outcome("\n".join(lines), imported=fields.pop("images"), **fields)


def summary_lines(found: PreparedSpan, collect: bool) -> list[str]:
    """Returns lines about imported images and duplicates."""
    if not found.images and found.relabelled:
        lines = []
    elif not found.images:
        lines = ["No new image, so nothing was done."]
    else:
        became = "collected" if collect else f"became span {found.span}"
        lines = [f"{counted(found.images, 'image')} {became}: {labels(found.labels)}."]
    if found.relabelled:
        lines.append(f"{counted(found.relabelled, 'published image')} relabelled. Next: `python -m ci train`.")
    if found.duplicates:
        there = "collected already under the same name" if collect else "the same bytes are in a span already"
        lines.append(f"{counted(found.duplicates, 'image')} left out: {there}.")
    return lines


@contextlib.contextmanager
def demo_folder(camera: str, skip: int, limit: int | None) -> Iterator[str]:
    """Writes digits of a camera to a folder that is gone afterwards."""
    if skip >= digits.COUNTS[camera]:
        raise UsageError(f"--skip {skip} leaves nothing: the {camera} camera saw {digits.COUNTS[camera]} digits.")
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        digits.write(folder, camera, skip, limit)
        yield folder
