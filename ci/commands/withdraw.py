"""Published images are withdrawn: no training and no evaluation reads them any more."""

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import correcting, erasing, spans
from pipeline.errors import numbers
from pipeline.formatting import counted
from pipeline.releases import lineage
from pipeline.releases.factory import releases_of
from pipeline.storage.factory import open_storage

GROUP = "images"


@command
@click.argument("images", metavar="NAME|SHA256...", nargs=-1, required=True)
@click.option("--why", required=True, help="The reason, which is kept.")
@click.option("--erase", is_flag=True, help="Remove their bytes from the workspace, too. This cannot be undone.")
def withdraw(config: Config, images: tuple[str, ...], why: str, erase: bool) -> Outcome:
    """Withdraws published images, from the next training on; shows which releases were trained with them.

    An image is named as span.json lists it (cat/1.jpg, or span-0001/cat/1.jpg), or by its sha256. Killed in between,
    the same command again completes an erasure.
    """
    storage = open_storage(config.workspace)
    found = correcting.withdraw(storage, images, why, erase)
    erased = erasing.erase(storage)
    seen = lineage.saw_withdrawn(spans.published(storage), releases_of(config))
    lines = [f"{counted(found.changed, 'image')} of span {numbers(found.spans)} withdrawn."]
    if not found.changed:
        lines = [f"Nothing to do: {counted(found.unchanged, 'image')} withdrawn already."]
    if erased:
        lines.append(f"{counted(erased, 'copy', 'copies')} erased from spans, archive and other folders.")
    if erase:
        lines += ["Not erased, where there is any:", *(f"  {place}" for place in erasing.OUT_OF_REACH)]
    if seen:
        trained = ", ".join(f"{tag} ({count})" for tag, count in seen.items())
        lines.append(f"Releases that were trained or evaluated with withdrawn images: {trained}.")
    return Outcome(
        "\n".join(lines),
        withdrawn=found.changed,
        unchanged=found.unchanged,
        spans=sorted(found.spans),
        erased=erased,
        out_of_reach=list(erasing.OUT_OF_REACH) if erase else [],
        seen_by=seen,
    )
