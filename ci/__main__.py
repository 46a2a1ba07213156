"""`python -m ci <command>`: finds the command's file and runs it."""

import _signal
import os
import sys

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # no traceback of the imports before `stop` is in place

from ci import stop, streams

GROUPS = {
    "images": "On your images",
    "models": "On models",
    "Google Cloud": "On Google Cloud",
    "workflows": "In workflows, also by hand",
    "": "Others",
}


def commands() -> dict[str, tuple[str, str]]:
    """Returns {command: (a key of GROUPS, its one line of help)}. Each file of ci/commands/ is one."""
    found = {}
    here = os.path.join(os.path.dirname(__file__), "commands")
    for name in sorted(os.listdir(here)):
        if name.endswith(".py"):
            # Read, not imported: importing click alone takes longer than Python's whole start.
            with open(os.path.join(here, name), encoding="utf-8") as source:
                head, marked, function = source.read().partition("\n@command\n")
            if marked:
                group = head.partition('\nGROUP = "')[2].partition('"')[0]
                about = function.split('"""')[1].partition("\n")[0]
                found[name[:-3].replace("_", "-")] = (group, about)
    return found


def overview() -> str:
    """Returns the text of `--help`."""
    known = commands()
    width = max(map(len, known))
    lines = ["Usage: python -m ci COMMAND [OPTIONS]"]
    for group, title in GROUPS.items():
        members = [f"  {name:{width}}  {about}" for name, (of, about) in known.items() if of == group]
        lines += ["", f"{title}:", *members] if members else []
    return "\n".join(
        [
            *lines,
            "",
            "`python -m ci COMMAND --help` shows a command's options; each also takes --json and --debug.",
            "Settings come from the environment: `python -m ci config` lists them.",
        ]
    )


def unknown(name: str) -> str:
    """Returns one line about a command that does not exist."""
    import difflib  # only here: it takes a tenth of the start-up

    near = difflib.get_close_matches(name.replace("_", "-"), commands(), n=1)
    meant = f"Did you mean `{near[0]}`? " if near else ""
    return f"There is no command {name!r}. {meant}`python -m ci --help` lists all of them."


def main(arguments: list[str]) -> int:
    """Runs one command and returns the exit code."""
    if not arguments:
        print(overview(), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(overview(), flush=True)
        return 0
    if name not in commands():
        print(streams.one_line(f"error: {unknown(name)}"), file=sys.stderr)
        return 2
    try:
        from ci.outcome import run
    except ModuleNotFoundError as missing:
        print(f"error: {missing}: run `make install`, then use .venv/bin/python.", file=sys.stderr)
        return 1
    stop.own_temporary_folder()
    return run(name, rest)


def guarded(arguments: list[str]) -> int:
    """Runs one command and returns the exit code, also when its output cannot be written."""
    try:
        code = main(arguments)
    except BrokenPipeError:
        code = 1  # the reader is gone
    except OSError as unwritable:
        print(f"error: {unwritable}", file=sys.stderr)
        code = 1
    streams.finish()
    return code


if __name__ == "__main__":
    streams.prepare()
    streams.stop_workflow_commands()
    stop.install()
    sys.exit(stop.run(lambda: guarded(sys.argv[1:])))
