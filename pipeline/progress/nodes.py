"""Shows how a pipeline goes: a line for each node that ended, and on a terminal what is under way."""

from collections.abc import Iterable

import rich.console
import rich.live
import rich.spinner

from pipeline.progress import logs


class NodeLines:
    """A context manager; writes on stderr as people see it."""

    def __init__(self):
        self._console = rich.console.Console(file=logs.terminal(), highlight=False)
        self._live = rich.live.Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "NodeLines":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def busy(self, doing: Iterable[str]) -> None:
        """Shows what is under way, in place of what was."""
        self._live.update(rich.spinner.Spinner("dots", ", ".join(doing)))

    def ended(self, node: str, state: str, seconds: float) -> None:
        """Adds a node's line."""
        self._console.print(f"  {node:<20} {state:<10} {seconds:6.1f} s", markup=False)
