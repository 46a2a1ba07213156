"""Directory entries that `count-collected --threshold 500` reads: 1,000,000 images against 1,000.

Counts the entries that the command takes from os.scandir and os.listdir below `collected/`. If strace is installed, it
also counts the entries that the kernel returns: always whole buffers of 32 KB, about a thousand names. A large folder
therefore costs at most one buffer more than a small one.
"""

import atexit
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time

import measure

THRESHOLD = 500
LABELS = 10
FEW, MANY = 1_000, 1_000_000
LINKS = 50_000  # file systems allow about 65,000 hard links per file
COMMAND = ["count-collected", f"--threshold={THRESHOLD}"]


def main():
    # In memory if there is room: creating a million names takes minutes on some disks.
    memory = pathlib.Path("/dev/shm")
    fits = memory.is_dir() and os.statvfs(memory).f_favail > 1.5 * MANY
    read = {FEW: 0, MANY: 0}
    with tempfile.TemporaryDirectory(prefix="counting-", dir=memory if fits else None) as folder:
        for folders in (LABELS, 1):
            for images in (FEW, MANY):
                workspace = pathlib.Path(folder).resolve() / f"{images}-in-{folders}"
                collect(workspace, images, folders)
                entries, listings, seconds = count(workspace)
                print(
                    f"{images:9,} images in {folders:2} folders: {entries} entries read in {listings} listings, "
                    f"{seconds:.2f} s; the kernel returned {kernel_entries(workspace)}",
                    flush=True,
                )
                read[images] = max(read[images], entries)
                shutil.rmtree(workspace)
    measure.finish("counting", read[MANY], read[FEW], "entries read", 1.2)


def collect(workspace: pathlib.Path, images: int, folders: int) -> None:
    """Fills `workspace`/collected with empty files: in one folder per label, or in one folder with labels in names."""
    collected = f"{workspace}/collected"
    for label in range(folders):
        os.makedirs(f"{collected}/label-{label}" if folders > 1 else collected)
    separator = "/" if folders > 1 else "_"
    for number in range(images):
        path = f"{collected}/label-{number % LABELS}{separator}{number:07d}.jpg"
        if number % LINKS == 0:
            open(path, "w").close()
            original = path
        else:
            os.link(original, path)


def count(workspace: pathlib.Path) -> tuple[int, int, float]:
    """Runs the command. Returns entries read, listings started and seconds."""
    began = time.monotonic()
    process = subprocess.run(
        [sys.executable, __file__, "--counted-below", workspace / "collected", *COMMAND, "--json"],
        cwd=measure.ROOT,
        env=os.environ | {"WORKSPACE": str(workspace), "PYTHONPATH": str(measure.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    if json.loads(process.stdout) != {"counted": THRESHOLD, "enough": True}:
        sys.exit(f"error: count-collected printed {process.stdout}")
    read, started, known = map(int, re.search(r"read (\d+) started (\d+) known (\d+)", process.stderr).groups())
    if started != known:
        sys.exit(f"error: {started - known} of {started} listings did not use os.scandir or os.listdir")
    return read, started, seconds


def kernel_entries(workspace: pathlib.Path) -> str:
    """Returns how many entries the kernel returns to the same command, for display."""
    if not shutil.which("strace"):
        return "an unknown number: strace is not installed"
    with tempfile.NamedTemporaryFile("r") as trace:
        strace = ["strace", "-f", "-y", "-v", "-s0", "-e", "trace=getdents64,getdents", "-o", trace.name]
        measure.run([*strace, sys.executable, "-m", "ci", *COMMAND], WORKSPACE=str(workspace))
        calls = [line for line in trace if f"{workspace}/collected" in line]
    return f"{sum(line.count('d_ino=') for line in calls):,} in {len(calls)} calls"


def run_counted(below: str) -> None:
    """Runs `python -m ci` in this process; at exit prints how many entries it read from listings in `below`."""
    scandir, listdir = os.scandir, os.listdir
    read = known = started = 0

    def is_below(place: str | int | None) -> bool:
        path = f"/proc/self/fd/{place}" if isinstance(place, int) else place or "."
        return os.path.realpath(path).startswith(below)

    class Scan:
        def __init__(self, place=None):
            nonlocal known
            self._counted = is_below(place)
            known += self._counted
            self._entries = scandir(place)

        def __iter__(self):
            return self

        def __next__(self):
            nonlocal read
            entry = next(self._entries)
            read += self._counted
            return entry

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def close(self):
            self._entries.close()

    def names(place=None):
        nonlocal read, known
        known += is_below(place)
        entries = listdir(place)
        read += len(entries) * is_below(place)
        return entries

    def audit(event, arguments):
        nonlocal started
        started += event in ("os.scandir", "os.listdir") and is_below(arguments[0])

    os.scandir, os.listdir = Scan, names
    sys.addaudithook(audit)  # sees listings by any function
    atexit.register(lambda: print(f"read {read} started {started} known {known}", file=sys.stderr))
    runpy.run_module("ci", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--counted-below"]:
        below = sys.argv[2]
        del sys.argv[1:3]
        run_counted(below)
    else:
        main()
