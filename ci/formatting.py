"""Formatting of labels, rejected images and lists in the output of commands."""

from collections.abc import Iterable, Mapping, Sequence

from ci.streams import one_line
from pipeline.formatting import counted
from pipeline.outcomes import Alike, Conflict, Rejected

SHOWN = 10  # entries of a long list


def labels(counts: Mapping[str, int]) -> str:
    """'cat 20, dog 7'."""
    return shortened(f"{one_line(label)} {count:,}" for label, count in sorted(counts.items()))


def rejections(rejected: Iterable[Rejected]) -> list[str]:
    """Returns lines about images that could not be used; none when there are none."""
    rejected = list(rejected)
    if not rejected:
        return []
    heading = f"{counted(len(rejected), 'image')} could not be used, set aside in rejected/ with the reason:"
    return [heading, *rejected_lines(rejected)]


def rejected_lines(rejected: Sequence[Rejected]) -> list[str]:
    """Returns a line about each of the first images, and one about how many more there are."""
    lines = [f"  {one_line(bad.name)}: {one_line(bad.reason)}" for bad in rejected[:SHOWN]]
    more = [f"  and {len(rejected) - SHOWN:,} more"] if len(rejected) > SHOWN else []
    return lines + more


def dark_images(dark: Sequence[Rejected]) -> list[str]:
    """Returns lines about images that are taken, but look nearly black; none when there are none."""
    return [f"{counted(len(dark), 'image')} may not be what people see:", *rejected_lines(dark)] if dark else []


def conflicts(found: Iterable[Conflict], waiting: bool = False) -> list[str]:
    """Lines about images that came under two labels; none when there are none. `waiting`: they stay in collected/."""
    here = "collected/" if waiting else "this import"
    lines = [
        f"  {one_line(conflict.name)}: {one_line(conflict.label)} here, {one_line(conflict.there)}"
        f" in {here if conflict.span is None else f'span {conflict.span}'}"
        for conflict in found
    ]
    if not lines:
        return []
    more = [f"  and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    images = f"{counted(len(lines), 'image')} came under two labels"
    heading = f"{images}, and neither is taken; kept aside in conflicts/:"
    following = "Import those that are right with `python -m ci import-images DIR --corrections`."
    if waiting:
        heading = f"{images}; the next span takes neither, and sets them aside in conflicts/:"
        following = "Delete the wrong file; where a span is wrong: `python -m ci relabel NAME --to LABEL`."
    return [heading, *lines[:SHOWN], *more, following]


def near_duplicates(count: int, alike: Iterable[Alike]) -> list[str]:
    """Lines about images that are the same to the eye as others; `alike` are the first of them."""
    if not count:
        return []
    shown = [
        f"  {one_line(one.name)}: like {one_line(one.there)}{'' if one.span is None else f' of span {one.span}'}"
        for one in alike
    ][:SHOWN]
    more = [f"  and {count - len(shown):,} more"] if count > len(shown) else []
    look = "looks" if count == 1 else "look"
    heading = f"{counted(count, 'image')} {look} like another one, which is on the same side of the split:"
    return [heading, *shown, *more]


def shortened(words: Iterable[str]) -> str:
    """'a, b, c'; a list of more than ten ends with the number of the others."""
    words = list(words)
    more = [f"{len(words) - SHOWN:,} more"] if len(words) > SHOWN else []
    return ", ".join([*words[:SHOWN], *more])
