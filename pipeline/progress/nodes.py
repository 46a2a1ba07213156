"""Shows the progress of a pipeline: a line for each node that ended, and on a terminal the running ones."""

from collections.abc import Iterable

import rich.console
import rich.live
import rich.spinner

from pipeline.progress import logs


class NodeProgress:
    """A context manager that writes on the stderr that people see."""

    def __init__(self):
        stream = logs.terminal()
        # Rich takes FORCE_COLOR, which notebooks and workflows set, for a terminal: a log would fill with spinners.
        self._console = rich.console.Console(file=stream, highlight=False, force_terminal=stream.isatty())
        self._live = rich.live.Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "NodeProgress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def running(self, nodes: Iterable[str]) -> None:
        """Shows these nodes as running, in place of those before."""
        self._live.update(rich.spinner.Spinner("dots", ", ".join(nodes)))

    def ended(self, node: str, state: str, seconds: float) -> None:
        """Prints the line of a node that ended."""
        self._console.print(f"  {node:<20} {state:<10} {seconds:6.1f} s", markup=False)
