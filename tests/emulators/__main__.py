"""`make emulators`: Google Cloud on this machine, for use by hand. Prints what to export, and runs until Ctrl-C.

python -m tests.emulators            lines to paste into another terminal
python -m tests.emulators --json     the same as one JSON object
python -m tests.emulators --calls    and tells every call that comes in, on stderr
"""

import argparse
import json
import pathlib
import shlex
import signal
import sys
import threading

from tests.emulators.cloud import Cloud

_KEPT = 1000  # calls that are remembered: what came before is told already


def exports(cloud: Cloud) -> dict[str, str]:
    """What commands need to find everything here, a workspace in the bucket among it."""
    return {**cloud.environment, "WORKSPACE": f"gs://{cloud.bucket}/workspace"}


def shell(found: dict[str, str]) -> str:
    """Lines for a shell."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(found.items())]
    return "\n".join([*lines, "# Running: paste these lines into another terminal. Ctrl-C ends it."])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make emulators", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="prints one JSON object instead of lines for a shell")
    parser.add_argument("--calls", action="store_true", help="tells every call on stderr")
    parser.add_argument("--buckets", type=pathlib.Path, help="file that keeps the buckets until the next time")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Cloud() as cloud:
        cloud.registry.add("spanloop")
        print(json.dumps(exports(cloud)) if arguments.json else shell(exports(cloud)), flush=True)
        told = 0
        while not stop.wait(0.5):
            told = _tell(cloud, told, arguments.calls)
        _tell(cloud, told, arguments.calls)
        if arguments.buckets:
            cloud.gcs.save(arguments.buckets)


def _tell(cloud: Cloud, told: int, calls: bool) -> int:
    """Tells who was refused, and the calls after the first `told`; forgets the oldest and returns how many are told."""
    for host in cloud.refused:
        print(f"refused: {host} is not on this machine", file=sys.stderr, flush=True)
    cloud.refused.clear()
    new = cloud.requests[told:]
    for asked in new if calls else ():
        print(f"{asked.status or '-'} {asked.service} {asked.method} {asked.target}", file=sys.stderr, flush=True)
    forgotten = max(0, told + len(new) - _KEPT)
    del cloud.requests[:forgotten]
    return told + len(new) - forgotten


if __name__ == "__main__":
    main()
