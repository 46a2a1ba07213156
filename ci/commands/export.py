"""A span's images as files again."""

import click

from ci.outcome import Outcome, command
from ci.progress import Count
from pipeline.config import Config
from pipeline.data import exporting, spans
from pipeline.data.exporting import INDEX
from pipeline.formatting import counted
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.argument("span", metavar="SPAN")
@click.option("--label", help="Only images of this label.")
@click.option(
    "--to", "folder", metavar="DIR", required=True, help="Where to write them: a folder, or gs://bucket/prefix."
)
def export(config: Config, span: str, label: str | None, folder: str) -> Outcome:
    """Writes a span's images to DIR as <label>/<sha256>.jpg, with images.csv.

    Labels are those after corrections; withdrawn images are left out. `import-images DIR/images.csv` reads it again.
    """
    chosen = spans.named(span, spans.published(open_storage(config.workspace)))
    to = open_storage(folder)
    with Count("Exporting") as progress:
        count = exporting.export(chosen, label, to, progress)
    index = to.address(INDEX)
    return Outcome(
        f"{counted(count, 'image')} of span {chosen.number} written, listed in {index}.", images=count, index=index
    )
