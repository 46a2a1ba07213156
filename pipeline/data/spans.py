"""Spans: labelled images, published once under a number and never changed."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.data import numbers
from pipeline.data.findings import Findings
from pipeline.data.images import MOST_BYTES, BadImage
from pipeline.data.images.conversion import original_of
from pipeline.data.incoming import collected, conflicts, fates, rejected
from pipeline.data.incoming.fates import Fate
from pipeline.data.known import Known
from pipeline.data.manifest import MANIFEST, number_of
from pipeline.data.span import Span, published
from pipeline.data.span_writer import Draft
from pipeline.errors import SpanNotFound, UsageError
from pipeline.outcomes import Conflict, PreparedSpan, Rejected
from pipeline.storage.base import Source, Stage, Storage

__all__ = ["Cleared", "Span", "clear_collected", "import_folder", "named", "prepare", "published", "select"]


def select(selection: str, published: Sequence[Span]) -> tuple[int, ...]:
    """Returns the numbers that "1,2", "all" or "latest:N" mean, sorted; raises UsageError or SpanNotFound."""
    return select_of(selection, [span.number for span in published])


def select_of(selection: str, numbers: Iterable[int]) -> tuple[int, ...]:
    """Does the same with the numbers of spans, one of which may not be published yet."""
    present = sorted(numbers)
    if selection == "all":
        return tuple(present)
    if latest := re.fullmatch(r"latest:([1-9]\d{0,18})", selection, re.ASCII):
        return tuple(present[-int(latest[1]) :])
    if not re.fullmatch(r"\d{1,19}(\s*,\s*\d{1,19})*", selection, re.ASCII):
        raise UsageError(f"--spans is {selection!r}, but has to be all, latest:N or numbers such as 1,2,11.")
    wanted = {int(number) for number in selection.split(",")}
    if missing := wanted.difference(present):
        raise SpanNotFound(missing, present)
    return tuple(sorted(wanted))


def named(name: str, published: Sequence[Span]) -> Span:
    """Returns a span by its number or folder name, such as span-0001; raises UsageError or SpanNotFound."""
    number = str(number_of(name) or name)
    if not re.fullmatch(r"\d{1,19}", number, re.ASCII):
        raise UsageError(f"{name!r} is not a span: name one by its number, such as 1.")
    (chosen,) = select(number, published)
    return next(span for span in published if span.number == chosen)


def prepare(
    storage: Storage,
    progress: Callable[[int], None] = lambda done: None,
    group_of: Callable[[str], str] = lambda name: "",
) -> PreparedSpan:
    """Makes a span of what is in `collected/`; calls `progress(images looked at)` now and then.

    Each image is at every instant either in `collected/` or in one published span, whenever this is killed and however
    many do it at once: they take turns. What arrives meanwhile waits for the next span. Images that cannot be used go
    to `rejected/`, those that came under two labels to `conflicts/`; those of a published span and second copies to the
    archive of the span that has them. Images of one group, by their names, are on one side of the split.
    """
    with storage.exclusive("preparing a span"):
        conflicts.finish(storage, collected.FOLDER)
        return _publish(
            storage, lambda: storage.sources(collected.FOLDER, MOST_BYTES), fates.Collected, group_of, progress
        )


@dataclass(frozen=True)
class Cleared:
    """What was moved out of `collected/` because it cannot be evaluated."""

    rejected: tuple[Rejected, ...] = ()  # unusable images, and second copies of collected ones
    archived: int = 0  # images that a span has already
    conflicts: tuple[Conflict, ...] = ()  # images that came under another label, too: they stay where they are


def clear_collected(storage: Storage, progress: Callable[[int], None] = lambda done: None) -> Cleared:
    """Moves away what no evaluation can use, and leaves everything else in `collected/`.

    Unusable images and second copies go to `rejected/` with the reason, images that a span has to its archive.
    """
    bad, archived = [], 0
    names: list[str] = []  # of the images that stay, in the order of `known`
    contested: dict[str, Conflict] = {}  # by name
    with storage.exclusive("preparing a span"), storage.stage(collected.FOLDER, MANIFEST):
        known = Known(storage, published(storage))
        for done, source in enumerate(storage.unpublished_sources(collected.FOLDER, MOST_BYTES), 1):
            if not done % collected.PROGRESS_EVERY:
                progress(done)
            try:
                label = collected.examine(source)
            except BadImage as problem:
                reason = str(problem)
            else:
                digest, original = hashlib.sha256(source.data).digest(), original_of(source.data)
                holder = known.holder(digest, original)
                if holder is None:
                    known.add(digest, label, original)
                    names.append(source.name)
                    continue
                if holder.withdrawn:
                    set_aside = rejected.erase if holder.erased else rejected.move
                    if set_aside(storage, source, holder.reason):
                        bad.append(Rejected(source.name, holder.reason))
                    continue
                if holder.label != label:
                    if holder.span is None:
                        first = names[holder.position]
                        contested.setdefault(first, Conflict(first, holder.label, None, label))
                    contested[source.name] = Conflict(source.name, label, holder.span, holder.label)
                    continue  # making a span sets both aside
                if holder.span is not None:
                    archived += fates.archive(storage, source, holder.span)
                    continue
                reason = "the same bytes as another collected image"
            if rejected.move(storage, source, reason):
                bad.append(Rejected(source.name, reason))
    return Cleared(tuple(bad), archived, tuple(contested.values()))


def import_folder(
    storage: Storage,
    folder: str,
    progress: Callable[[int], None] = lambda done: None,
    group_of: Callable[[str], str] = lambda name: "",
    separator: str = "",
    corrections: bool = False,
    convert: bool = False,
) -> PreparedSpan:
    """Makes a span of a user's folder, or of images that a list names; copies what cannot be used to `rejected/`.

    Images that are in a span already are left out, so importing a folder twice makes no second span; those that came
    under two labels are copied to `conflicts/`, or, with `corrections`, relabel what is published. `separator` is where
    labels end in flat names. With `convert`, images of other formats become PNGs. Raises UsageError when there is no
    such folder or nothing in it.
    """
    with storage.exclusive("preparing a span"):
        return _publish(
            storage,
            lambda: collected.sources_of(folder, separator),
            fates.Imported,
            group_of,
            progress,
            corrections,
            convert,
        )


def _publish(
    storage: Storage,
    read: Callable[[], Iterable[Source]],
    fate: Callable[[Storage, Stage], Fate],
    group_of: Callable[[str], str],
    progress: Callable[[int], None],
    corrections: bool = False,
    convert: bool = False,
) -> PreparedSpan:
    from pipeline.data.preparation import Preparation  # only here: it brings numpy, which other commands do without

    found = Findings()
    while True:
        with (
            storage.stage(collected.FOLDER, MANIFEST) as stage,
            contextlib.closing(Draft(stage, numbers.begin(storage, stage))) as draft,
        ):
            # Only now, because what is published before a number is begun has to be known.
            destiny = fate(storage, stage)
            preparation = Preparation(storage, draft, published(storage), destiny, found, corrections, convert)
            preparation.read(read(), group_of, progress)
            arranged = preparation.arrange()
            if arranged and not draft.images:
                preparation.correct()
                return found.outcome()
            if arranged:
                preparation.finish()
                if numbers.take(storage, draft.number) and stage.publish():
                    return found.outcome(draft)
        # Another process that takes no turns has published that number: all is as it was, so again with the next one.
