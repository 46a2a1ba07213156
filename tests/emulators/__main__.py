"""`make emulators`: local servers of Google Cloud for manual use. Prints variables to export, and runs until Ctrl-C.

python -m tests.emulators            lines to paste into another terminal
python -m tests.emulators --json     the same as one JSON object
python -m tests.emulators --calls    also logs every call on stderr
"""

import argparse
import json
import pathlib
import shlex
import signal
import sys
import threading

from tests.emulators.cloud import Cloud

_KEPT = 1000  # calls kept in memory: older ones have been printed


def exports(cloud: Cloud) -> dict[str, str]:
    """Environment variables with which commands find the servers, a workspace, a device channel, and a token of GitHub.

    So RELEASES=github:acme/widget works by hand, also of a pipeline, which reads the token from Secret Manager.
    """
    token, secret = cloud.github.token(), f"projects/{cloud.project}/secrets/github-token"
    cloud.secrets.add(secret, token.encode())
    tokens = {"GITHUB_TOKEN": token, "RELEASE_TOKEN_SECRET": f"{secret}/versions/latest"}
    places = {"WORKSPACE": f"gs://{cloud.bucket}/workspace", "DEVICE_CHANNEL": f"gs://{cloud.bucket}/apps"}
    key = cloud.kms.add("spanloop", "device-models")
    return {**cloud.environment, **tokens, **places, "DEVICE_SIGNING_KEY": key}


def shell(found: dict[str, str]) -> str:
    """Export lines for a shell."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(found.items())]
    return "\n".join([*lines, "# Running: paste these lines into another terminal. Stop with Ctrl-C."])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make emulators", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of shell lines")
    parser.add_argument("--calls", action="store_true", help="log every call on stderr")
    parser.add_argument("--buckets", type=pathlib.Path, help="file in which to save the buckets when stopped")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Cloud() as cloud:
        cloud.registry.add("spanloop")
        print(json.dumps(exports(cloud)) if arguments.json else shell(exports(cloud)), flush=True)
        printed = 0
        while not stop.wait(0.5):
            printed = _print_calls(cloud, printed, arguments.calls)
        _print_calls(cloud, printed, arguments.calls)
        if arguments.buckets:
            cloud.gcs.save(arguments.buckets)


def _print_calls(cloud: Cloud, printed: int, calls: bool) -> int:
    """Prints refused hosts and the calls after the first `printed`; drops the oldest calls, returns how many remain."""
    for host in cloud.refused:
        print(f"refused: no local server for {host}", file=sys.stderr, flush=True)
    cloud.refused.clear()
    new = cloud.requests[printed:]
    for call in new if calls else ():
        print(f"{call.status or '-'} {call.service} {call.method} {call.target}", file=sys.stderr, flush=True)
    dropped = max(0, printed + len(new) - _KEPT)
    del cloud.requests[:dropped]
    return printed + len(new) - dropped


if __name__ == "__main__":
    main()
