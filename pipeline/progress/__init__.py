"""Progress of a run for people, and its log file."""

from collections.abc import Callable

Log = Callable[[str], None]  # takes one line about the progress of long work


def no_log(line: str) -> None:
    """A `Log` that drops its lines."""
