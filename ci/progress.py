"""Progress of long commands on stderr: a live count on a terminal, otherwise a line every few seconds."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ci.streams import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY = 10  # seconds between two lines


def log(line: str) -> None:
    """Prints a line of progress."""
    print(one_line(line), file=sys.stderr, flush=True)


class Count:
    """A context manager that shows a number: `with Count("Importing") as count: count(200)`."""

    def __init__(self, doing: str, unit: str = "images"):
        self._doing, self._unit = doing, unit
        self._bar: Progress | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        return self._on_terminal if sys.stderr.isatty() else self._in_lines

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def _on_terminal(self, done: int) -> None:
        if not self._bar:
            self._bar = (
                live_count()
            )  # created with the first number, because short commands need neither the display nor its import
            self._bar.add_task(self._doing, total=None, completed=done, unit=self._unit)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)

    def _in_lines(self, done: int) -> None:
        if time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            print(f"{self._doing}: {done:,} {self._unit} so far", file=sys.stderr, flush=True)


def live_count() -> "Progress":
    """Returns an animated display with count and elapsed time that disappears at the end."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}: {task.completed:,.0f} {task.fields[unit]}", markup=False),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
