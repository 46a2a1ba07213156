"""Formatting of labels, rejected images and lists in the output of commands."""

from collections.abc import Iterable, Mapping

from ci.streams import one_line
from pipeline.formatting import counted
from pipeline.outcomes import Rejected

SHOWN = 10  # entries of a long list


def labels(counts: Mapping[str, int]) -> str:
    """'cat 20, dog 7'."""
    return shortened(f"{one_line(label)} {count:,}" for label, count in sorted(counts.items()))


def rejections(rejected: Iterable[Rejected]) -> list[str]:
    """Returns lines about images that could not be used; none when there are none."""
    reasons = [f"  {one_line(bad.name)}: {one_line(bad.reason)}" for bad in rejected]
    if not reasons:
        return []
    more = [f"  and {len(reasons) - SHOWN:,} more"] if len(reasons) > SHOWN else []
    heading = f"{counted(len(reasons), 'image')} could not be used, set aside in rejected/ with the reason:"
    return [heading, *reasons[:SHOWN], *more]


def shortened(words: Iterable[str]) -> str:
    """'a, b, c'; a list of more than ten ends with the number of the others."""
    words = list(words)
    more = [f"{len(words) - SHOWN:,} more"] if len(words) > SHOWN else []
    return ", ".join([*words[:SHOWN], *more])
