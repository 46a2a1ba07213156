"""What the programs of nodes have in common: options, outputs, and errors that people read."""

import argparse
import sys
from collections.abc import Callable, Sequence

from pipeline.config import Config
from pipeline.errors import SpanloopError
from pipeline.progress import Log
from pipeline.releases.factory import releases_of
from pipeline.releases.record import Release
from pipeline.storage.factory import open_storage

MOUNT = "/gcs/"


def run(program: Callable[[argparse.Namespace], None], *options: str, arguments: Sequence[str] | None = None) -> None:
    """Calls a program with the values of its options, all of which are required; exits as errors say."""
    parser = argparse.ArgumentParser(description=program.__doc__)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    try:
        program(parser.parse_args(arguments))
    except SpanloopError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def run_with_release(act: Callable[[Config, Release, Log], object], about: str) -> None:
    """Calls `act` with the release that `--released` names; does nothing where nothing was released."""

    def main(given: argparse.Namespace) -> None:
        if given.released:
            config = Config.from_json(given.settings)
            act(config, releases_of(config).get(given.released), log)

    main.__doc__ = about
    run(main, "settings", "released")


def log(line: str) -> None:
    """Prints a line of the node's log."""
    print(line, file=sys.stderr, flush=True)


def address(path: str) -> str:
    """Returns the gs:// address of a path below /gcs, and any other path as it is (see vertex_node.py)."""
    return f"gs://{path.removeprefix(MOUNT)}" if path.startswith(MOUNT) else path


def write(path: str, text: str) -> None:
    """Writes an output to the path that Vertex AI names, by its address."""
    folder, _, name = address(path).rpartition("/")
    open_storage(folder).write(name, text.encode())


def read(path: str) -> bytes:
    """Returns an input by the path or address that Vertex AI names. Raises ObjectNotFound."""
    folder, _, name = address(path).rpartition("/")
    return open_storage(folder).read(name)
