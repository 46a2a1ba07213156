"""What people see of a run, and where its log goes."""

from collections.abc import Callable

Log = Callable[[str], None]  # takes one line about the progress of long work


def no_log(line: str) -> None:
    """A `Log` that drops its lines."""
