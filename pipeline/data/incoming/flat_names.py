"""Labels in names of files that lie in no label's folder: `<label>_<name>.jpg`."""

from collections import Counter
from collections.abc import Callable, Iterable

from pipeline.errors import UsageError
from pipeline.formatting import counted

FIRST, LAST = "first", "last"  # underscore
_SHOWN = 5


def splitter(separator: str) -> Callable[[str], str]:
    """Returns a function from a file's name to its label, "" where there is none.

    `separator` is "first" or "last", which underscore the label ends at, or text, at whose last occurrence it ends.
    """
    if separator == FIRST:
        return lambda name: name.partition("_")[0] if "_" in name else ""
    text = "_" if separator == LAST else separator
    return lambda name: name.rpartition(text)[0]


def check(names: Iterable[str]) -> None:
    """Raises UsageError where it is not clear which underscore a label ends at; says what each would give."""
    first, last = splitter(FIRST), splitter(LAST)
    flat = [name for name in names if "/" not in name and "_" in name]
    unclear = [name for name in flat if first(name) != last(name)]
    if not unclear:
        return
    raise UsageError(
        f"The labels of {counted(len(unclear), 'file')} such as {unclear[0]} are not clear, and nothing was imported."
        f" Up to the first underscore they are {_labels(map(first, flat))}: import them with --label-separator first."
        f" Up to the last one they are {_labels(map(last, flat))}: --label-separator last."
        " Folders named after the labels need neither."
    )


def _labels(found: Iterable[str]) -> str:
    counts = Counter(found)
    shown = [f"{label} {count:,}" for label, count in sorted(counts.items())[:_SHOWN]]
    more = [f"{len(counts) - _SHOWN:,} more"] if len(counts) > _SHOWN else []
    return ", ".join(shown + more)
