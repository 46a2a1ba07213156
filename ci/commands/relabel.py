"""Published images get another label."""

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import correcting
from pipeline.errors import numbers
from pipeline.formatting import counted
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.argument("images", metavar="SPAN|NAME|SHA256...", nargs=-1, required=True)
@click.option("--to", "label", required=True, help="The right label.")
def relabel(config: Config, images: tuple[str, ...], label: str) -> Outcome:
    """Corrects the label of published images, from the next training on.

    An image is named as span.json lists it (cat/1.jpg, or span-0001/cat/1.jpg), or by its sha256; a span by its number.
    """
    found = correcting.relabel(open_storage(config.workspace), images, label)
    lines = [f"{counted(found.changed, 'image')} of span {numbers(found.spans)} labelled {label} from now on."]
    if not found.changed:
        lines = [f"Nothing to do: {counted(found.unchanged, 'image')} labelled {label} already."]
    else:
        lines.append("Next: `python -m ci train`.")
    return Outcome(
        "\n".join(lines), relabelled=found.changed, unchanged=found.unchanged, to=label, spans=sorted(found.spans)
    )
