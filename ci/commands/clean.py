"""Deletes what nothing needs any more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config
from pipeline.formatting import counted, megabytes

if TYPE_CHECKING:
    from pipeline.cleaning.item import Item

GROUP = "Google Cloud"
MOST_SHOWN = 30  # lines of one kind


@command
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Keep what was changed or used since.",
)
@click.option("--yes", is_flag=True, help="Delete. Without it, only show what would be deleted.")
def clean(config: Config, days: int, yes: bool) -> Outcome:
    """Shows what no release, no served model, no channel and no recent run needs, and deletes it with --yes.

    Results of runs, checkpoints, logs, reports, modules, compiled pipelines, copies for serving, batch predictions,
    models in the registry and deployed without traffic, also under a former name of the repository, images, and models
    for devices. Spans, collected images and releases are never touched. Do not submit a run at the same time.
    """
    from pipeline.cleaning import plan
    from pipeline.cleaning.item import Search

    found = plan.find(Search(config, days, log))
    failures = plan.remove(found.items, lambda item: log(f"deleted {item.name}")) if yes else []
    failed = [failure.item for failure in failures]
    deleted = [item for item in found.items if item not in failed] if yes else []
    total = sum(item.bytes for item in (deleted if yes else found.items))
    lines = [] if yes else lines_of(found.items)
    lines += [f"not deleted: {failure.item.name}: {failure.reason}" for failure in failures]
    lines += found.notes
    if yes:
        lines.append(f"{counted(len(deleted), 'thing')} deleted, {megabytes(total)}.")
    elif found.items:
        lines.append(f"{counted(len(found.items), 'thing')}, {megabytes(total)}. `--yes` deletes, for ever.")
    else:
        lines.append(f"Nothing that is not needed is older than {counted(days, 'day')}.")
    return Outcome(
        "\n".join(lines),
        exit_code=1 if failures else 0,
        dry_run=not yes,
        items=[
            {"kind": item.kind, "name": item.name, "days": int(item.days), "bytes": item.bytes, "why": item.why}
            for item in found.items
        ],
        bytes=total,
        deleted=len(deleted),
        failed=[{"name": failure.item.name, "reason": failure.reason} for failure in failures],
        notes=list(found.notes),
    )


def lines_of(items: "Sequence[Item]") -> list[str]:
    """Returns a line for each thing, below a line for each kind."""
    lines = []
    for kind in dict.fromkeys(item.kind for item in items):
        of_kind = [item for item in items if item.kind == kind]
        lines.append(f"{kind}: {len(of_kind):,}, {megabytes(sum(item.bytes for item in of_kind))}")
        for item in of_kind[:MOST_SHOWN]:
            size = f", {megabytes(item.bytes)}" if item.bytes else ""
            lines.append(f"  {item.name} ({counted(int(item.days), 'day')} old{size}): {item.why}")
        if len(of_kind) > MOST_SHOWN:
            lines.append(f"  and {len(of_kind) - MOST_SHOWN:,} more: --json names all")
    return lines
