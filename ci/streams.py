"""stdout and stderr as they really are: closed, full, unable to encode a name, read by half."""

import os
import sys


def prepare() -> None:
    """Makes sure that both streams are there and take any text."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest free number is this one. Left free, a data file would get it and with it all that is printed.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files need not be text


def stop_workflow_commands() -> None:
    """Keeps names of files and messages in the output of a workflow's step from being commands to the runner.

    It takes `::set-output name=x::y` at the start of a line, and `##[...]` anywhere, in what a step prints on either
    stream. Without the random token, which is never printed again, nothing resumes commands before the step ends.
    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(f"::stop-commands::{os.urandom(16).hex()}", file=sys.stderr, flush=True)


def finish() -> None:
    """Gives up what cannot be written any more: Python would raise once more at exit and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(text: str) -> str:
    """Returns `text` with everything escaped that would start a new line, a workflow command or a terminal's escape."""
    return "".join(c if c.isprintable() or c in SPACES else c.encode("unicode_escape").decode() for c in text)


SPACES = "\u00a0\u202f"  # that never break a line, as between a number and its unit
