"""Redirects what libraries print to a file, so that people see what matters and nothing is lost."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

_terminal: TextIO | None = None  # stderr as it was before anything was redirected


def terminal() -> TextIO:
    """Returns the stream that people read, also while stdout and stderr are redirected to a file."""
    return _terminal or sys.stderr


@contextlib.contextmanager
def into_file(path: str) -> Iterator[None]:
    """Redirects stdout and stderr of this process, of native libraries too, to the file `path`."""
    global _terminal
    os.makedirs(os.path.dirname(path), exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    outermost = _terminal is None
    if outermost:
        _terminal = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    handlers = logging.root.handlers
    # a handler that a library has added may write to a stream of its own
    logging.root.handlers = [logging.StreamHandler(open(2, "w", closefd=False, buffering=1))]
    logging.root.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    try:
        yield
    finally:
        logging.root.handlers = handlers
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a full disk keeps no log, and must not hide why a run failed
                stream.flush()
        for descriptor, saved in zip((1, 2), before, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        if outermost:
            _terminal.close()
            _terminal = None
