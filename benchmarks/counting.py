"""`count-collected --threshold 500` over 1,000,000 images against over 1,000, in directory entries read.

Counted is what the command takes out of os.scandir and os.listdir below `collected/`. Where strace is installed, what
the kernel hands over is counted too: it fills a buffer of 32 KB, a thousand names or so, whether they are wanted or
not. So a large folder costs up to one buffer more than a small one, and never more than that.
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
LINKS = 50_000  # file systems allow one file no more than some 65,000 names
COMMAND = ["count-collected", f"--threshold={THRESHOLD}"]


def main():
    # In memory when there is room: a million names take minutes on some disks.
    memory = pathlib.Path("/dev/shm")
    room = memory.is_dir() and os.statvfs(memory).f_favail > 1.5 * MANY
    read = {FEW: 0, MANY: 0}
    with tempfile.TemporaryDirectory(prefix="counting-", dir=memory if room else None) as folder:
        for folders in (LABELS, 1):
            for images in (FEW, MANY):
                workspace = pathlib.Path(folder).resolve() / f"{images}-in-{folders}"
                collect(workspace, images, folders)
                entries, listings, seconds = count(workspace)
                print(
                    f"{images:9,} images in {folders:2} folders: {entries} entries read in {listings} listings, "
                    f"{seconds:.2f} s; the kernel handed over {handed_over(workspace)}",
                    flush=True,
                )
                read[images] = max(read[images], entries)
                shutil.rmtree(workspace)
    measure.finish("counting", read[MANY], read[FEW], "entries read", 1.2)


def collect(workspace: pathlib.Path, images: int, folders: int) -> None:
    """Fills `workspace`/collected with empty images: in `folders` by label, or in one with the label in their names."""
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
    """Counts with the command. Returns entries read, listings begun and seconds."""
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
        sys.exit(f"count-collected says {process.stdout}")
    read, begun, known = map(int, re.search(r"read (\d+) begun (\d+) known (\d+)", process.stderr).groups())
    if begun != known:
        sys.exit(f"{begun - known} of {begun} listings were begun otherwise than by os.scandir and os.listdir")
    return read, begun, seconds


def handed_over(workspace: pathlib.Path) -> str:
    """Returns what the kernel gives to the same command."""
    if not shutil.which("strace"):
        return "an unknown number: strace is not installed"
    with tempfile.NamedTemporaryFile("r") as trace:
        strace = ["strace", "-f", "-y", "-v", "-s0", "-e", "trace=getdents64,getdents", "-o", trace.name]
        measure.run([*strace, sys.executable, "-m", "ci", *COMMAND], WORKSPACE=str(workspace))
        calls = [line for line in trace if f"{workspace}/collected" in line]
    return f"{sum(line.count('d_ino=') for line in calls):,} in {len(calls)} calls"


def run_counted(below: str) -> None:
    """Runs `python -m ci` in this process and says at its end how many entries it took out of listings in `below`."""
    scandir, listdir = os.scandir, os.listdir
    read = known = begun = 0

    def ours(place: str | int | None) -> bool:
        path = f"/proc/self/fd/{place}" if isinstance(place, int) else place or "."
        return os.path.realpath(path).startswith(below)

    class Scan:
        def __init__(self, place=None):
            nonlocal known
            self._ours = ours(place)
            known += self._ours
            self._entries = scandir(place)

        def __iter__(self):
            return self

        def __next__(self):
            nonlocal read
            entry = next(self._entries)
            read += self._ours
            return entry

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def close(self):
            self._entries.close()

    def names(place=None):
        nonlocal read, known
        known += ours(place)
        found = listdir(place)
        read += len(found) * ours(place)
        return found

    def audit(event, arguments):
        nonlocal begun
        begun += event in ("os.scandir", "os.listdir") and ours(arguments[0])

    os.scandir, os.listdir = Scan, names
    sys.addaudithook(audit)  # hears of listings by whatever way
    atexit.register(lambda: print(f"read {read} begun {begun} known {known}", file=sys.stderr))
    runpy.run_module("ci", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--counted-below"]:
        below = sys.argv[2]
        del sys.argv[1:3]
        run_counted(below)
    else:
        main()
