"""`prepare-span` of 10,000 images of 3 KB in a bucket: calls and bytes against the minimum, CPU against a folder.

The minimum is one listing call per thousand names, a read and a move per image, and writing the shards; in bytes,
downloading the images and uploading the shards. The local servers, in a separate process, count calls; a relay in
front of them counts bytes on the wire, headers and encryption included. CPU is that of the command `prepare-span`
alone, which does the same work on the folder.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator

import measure
from span_preparation import LABELS, collect

IMAGES = 10_000
# Calls that do not depend on the number of images: lease, span number, published spans, manifest, token.
MOST_OTHER_CALLS = 20
MOST_BYTES = 1.5  # times the minimum: names and headers are a quarter of an image of 3 KB


def main():
    with tempfile.TemporaryDirectory(prefix="span-on-gcs-") as folder:
        place = pathlib.Path(folder)
        size = collect(place, IMAGES)
        print(f"{IMAGES:,} images of {size:,.0f} bytes, {LABELS} labels", flush=True)
        with servers(place / "calls") as (environment, calls), relay(environment) as through:
            collected = measure.run(
                [*CI, "import-images", str(place / "collected"), "--collect", "--json"], **environment
            )
            before = calls()
            prepared = measure.run([*CI, "prepare-span", "--json"], **environment | through.environment)
            made = calls() - before
        in_folder = measure.run([*CI, "prepare-span", "--json"], WORKSPACE=folder)
        shards = sum(path.stat().st_size for path in place.glob("spans/*/*/*.tfrecord"))
        started = measure.run([*CI, "--help"])
    if json.loads(prepared.out)["images"] != IMAGES:
        sys.exit(f"error: prepare-span printed {prepared.out}")
    check_traffic(made, through, size * IMAGES, shards)
    each = {name: cost.cpu / IMAGES * 1000 for name, cost in (("bucket", prepared), ("folder", in_folder))}
    print(f"{'prepare-span':<14} {each['bucket']:.3f} CPU ms an image in a bucket, {each['folder']:.3f} in a folder")
    print(
        f"{'':<14} of which {started.cpu / IMAGES * 1000:.3f} are the command's start; {prepared.peak / 2**20:.0f} MB"
    )
    print(f"{'import-images':<14} {collected.cpu / IMAGES * 1000:.3f} CPU ms an image to collect them in the bucket")
    measure.finish("span_on_gcs", round(each["bucket"], 3), round(each["folder"], 3), "CPU ms an image", 5.0)


CI = [sys.executable, "-m", "ci"]


def check_traffic(made: Counter, through: "Relay", images: float, shards: int) -> None:
    """Prints calls and bytes; exits with an error when they exceed the limits."""
    least = {"list": -(-IMAGES // 1000), "read": IMAGES, "move": IMAGES, "write": 2}
    found = {
        "list": made["objects.list"],
        "read": made["xml.get"] + made["objects.download"],
        "move": made["objects.move"],
        "write": made["objects.insert"] + made["xml.put"],
    }
    for name, count in found.items():
        print(f"{name:<14} {count:7,} calls, at least {least[name]:,}")
    # A batch is one request, but the calls in it count separately, as with the real service.
    others = made.total() - made["batch"] - sum(least.values())
    print(f"{'all':<14} {made.total() - made['batch']:7,} calls, at least {sum(least.values()):,}: {others} more")
    print(f"{'bytes':<14} {through.down:,} down and {through.up:,} up, at least {images:,.0f} and {shards:,}")
    ratio = (through.down + through.up) / (images + shards)
    print(f"{'':<14} {ratio:.2f} times the minimum")
    if others > MOST_OTHER_CALLS or ratio > MOST_BYTES:
        sys.exit(f"error: limits are {MOST_OTHER_CALLS} more calls than the minimum and {MOST_BYTES} times its bytes.")


@contextlib.contextmanager
def servers(log: pathlib.Path) -> Iterator[tuple[dict[str, str], "Calls"]]:
    """Runs the local servers; yields the environment of their clients, and a function that counts calls so far."""
    with open(log, "w") as calls:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.emulators", "--json", "--calls"],
            cwd=measure.ROOT,
            stdout=subprocess.PIPE,
            stderr=calls,
            text=True,
        )
        try:
            yield json.loads(process.stdout.readline()), Calls(log)
        finally:
            process.terminate()
            process.wait()


class Calls:
    """Counts calls by method, from the servers' log."""

    def __init__(self, log: pathlib.Path):
        self._log = log

    def __call__(self) -> Counter:
        before = -1
        while before != (before := self._log.stat().st_size):  # the servers write it twice a second
            threading.Event().wait(1.5)
        return Counter(re.findall(r"^\S+ storage (\S+)", self._log.read_text(), re.M))


class Relay:
    """Forwards connections to the proxy and counts bytes in both directions."""

    def __init__(self, proxy: str):
        self._proxy = proxy.rpartition("//")[2].split(":")
        self._listening = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.environment = {"HTTPS_PROXY": address, "https_proxy": address}
        self.up = self.down = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection((self._proxy[0], int(self._proxy[1])))
                threading.Thread(target=self._forward, args=(client, server, "up"), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, "down"), daemon=True).start()

    def _forward(self, source: socket.socket, destination: socket.socket, direction: str) -> None:
        counted = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                counted += len(data)
                destination.sendall(data)
        with contextlib.suppress(OSError):
            destination.shutdown(socket.SHUT_WR)
        with _count_lock:
            setattr(self, direction, getattr(self, direction) + counted)

    def close(self) -> None:
        self._listening.close()


_count_lock = threading.Lock()


@contextlib.contextmanager
def relay(environment: dict[str, str]) -> Iterator[Relay]:
    made = Relay(environment["HTTPS_PROXY"])
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    os.environ.pop("WORKSPACE", None)
    main()
