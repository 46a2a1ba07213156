"""Spans as a dataset for AutoML."""

import click

from ci.outcome import Outcome, command
from ci.progress import Count
from pipeline.config import Config
from pipeline.data import automl_dataset, spans
from pipeline.errors import NoSpans
from pipeline.formatting import counted
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.option("--spans", "selection", default="all", show_default=True, help="Spans: 1,2 or all or latest:N.")
@click.option(
    "--to", "folder", metavar="DIR", required=True, help="Where to write it: a folder, or gs://bucket/prefix."
)
def export_dataset(config: Config, selection: str, folder: str) -> Outcome:
    """Writes spans to DIR as Vertex AI imports them: images/<sha256>.jpg, import.jsonl and eval.jsonl.

    Labels are those after corrections; withdrawn images are left out. Images for evaluation are AutoML's test set. An
    export that was interrupted goes on where it stopped.
    """
    published = spans.published(open_storage(config.workspace))
    numbers = spans.select(selection, published)
    if not numbers:
        raise NoSpans(config.workspace)
    chosen = [span for span in published if span.number in numbers]
    with Count("Exporting") as progress:
        dataset = automl_dataset.export(chosen, open_storage(folder), progress)
    parts = ", ".join(f"{images:,} for {use}" for use, images in sorted(dataset.uses.items()))
    return Outcome(
        f"{counted(dataset.images, 'image')} ({parts}), listed in {dataset.import_file}.",
        images=dataset.images,
        uses=dataset.uses,
        import_file=dataset.import_file,
        instances=dataset.instances,
    )
