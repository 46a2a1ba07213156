"""The framework of commands: prints an outcome as text, JSON, step outputs and summary; prints an error as one line."""

import contextlib
import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator

import click

from ci import stop
from ci.streams import one_line
from pipeline.config import Config, near_misses
from pipeline.errors import SpanloopError


class Outcome:
    """The result of a command: `text` for people, `fields` for programs (JSON values).

    `summary` is Markdown for the page of a workflow run, by default the text. `exit_code` is 1 when nothing failed, but
    the result requires an action of the user.
    """

    def __init__(self, text: str, /, *, summary: str = "", exit_code: int = 0, **fields: object):
        self.text = text
        self.summary = summary
        self.exit_code = exit_code
        self.fields = fields


def command(function: Callable[..., Outcome]) -> click.Command:
    """Makes `function(config, **options)` a command; `@click.option` and `@click.argument` go below it.

    A file in ci/commands/ holds one, and both have its name: count_collected.py, `count_collected`, `count-collected`.
    """
    made = click.command(
        function.__name__.replace("_", "-"),
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )(function)
    made.params += [
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object, everything else on stderr."),
        click.Option(["--debug"], is_flag=True, help="Show a traceback when something fails."),
    ]
    return made


def run(name: str, arguments: list[str]) -> int:
    """Runs the command `name` and returns its exit code: 0 done, 1 failed, 2 configuration or usage."""
    try:
        module = name.replace("-", "_")
        return perform(getattr(importlib.import_module(f"ci.commands.{module}"), module), arguments)
    except click.exceptions.Exit as ended:  # --help
        return ended.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        if stop.requested():
            raise KeyboardInterrupt from error  # a library has replaced the exception
        line, code = explain(error, name)
        if "--debug" in arguments:
            traceback.print_exc()
        print(f"error: {line}", file=sys.stderr)
        with contextlib.suppress(OSError):
            append("GITHUB_STEP_SUMMARY", f"### {name} failed\n\n{fenced(line)}")
        return code


def perform(made: click.Command, arguments: list[str]) -> int:
    """Runs a command, prints its outcome and returns the exit code."""
    with made.make_context(f"python -m ci {made.name}", list(arguments)) as context:
        options = dict(context.params)
        as_json = options.pop("as_json")
        del options["debug"]
        with stdout_kept_clean() if as_json else contextlib.nullcontext():
            config = Config.from_environment(os.environ)
            warn_of_near_misses()
            outcome = context.invoke(made.callback, config, **options)
        found = json.dumps(outcome.fields, allow_nan=False)  # plain ASCII, so no name and no locale can break it
        append("GITHUB_OUTPUT", step_outputs(outcome.fields))
        append("GITHUB_STEP_SUMMARY", f"### {made.name}\n\n{outcome.summary or fenced(outcome.text)}")
    print(outcome.text, file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        print(found, flush=True)
    return outcome.exit_code


def warn_of_near_misses() -> None:
    """Warns of variables whose names are almost those of settings."""
    for variable, meant in near_misses(os.environ).items():
        print(f"warning: {variable} is no setting and is ignored; {meant} is one, and not set.", file=sys.stderr)


@contextlib.contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Redirects stdout to stderr, also for child processes, so that only the JSON is on stdout."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def explain(error: Exception, name: str) -> tuple[str, int]:
    """Returns one line that names the next step, and the exit code."""
    if isinstance(error, SpanloopError):
        line, code = str(error), error.exit_code
    elif isinstance(error, click.ClickException):
        line, code = f"{' '.join(error.format_message().split())} See `python -m ci {name} --help`.", 2
    elif isinstance(error, ModuleNotFoundError):
        line, code = f"{error}: run `make install`, then use .venv/bin/python.", 1
    elif isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        line, code = f"{where}{error.strerror}. Fix it and run the command again; --debug shows where it happened.", 1
    else:
        line, code = f"Unexpected {type(error).__name__}: {error}. Run it again with --debug to see where.", 1
    return one_line(line), code


def append(variable: str, text: str) -> None:
    """Appends `text` to the file that a workflow names in an environment variable, if it is set."""
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def step_outputs(fields: dict[str, object]) -> str:
    """Returns `fields` as lines of $GITHUB_OUTPUT: text as it is, null as nothing, anything else as JSON."""
    lines = []
    for name, value in fields.items():
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
        if "\n" in text or "\r" in text:
            # A random delimiter: a value that contained it could end itself and add other outputs.
            delimiter = os.urandom(16).hex()
            lines.append(f"{name}<<{delimiter}\n{text}\n{delimiter}\n")
        else:
            lines.append(f"{name}={text}\n")
    return "".join(lines)


def fenced(text: str) -> str:
    """Returns Markdown that shows `text` as it is, whatever it holds."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n"
