"""Shared functions of all benchmarks: measure the cost of a process, print the final line of JSON."""

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Cost(NamedTuple):
    """Resources used by a process and its finished children."""

    cpu: float  # seconds, user and system
    wall: float  # seconds from start to end
    peak: int  # bytes of memory, of the largest process
    out: str  # standard output


def run(command: list[str], **environment: str) -> Cost:
    """Runs `command` in the repository and waits for it. Raises CalledProcessError when it fails."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * unit, out)


def processor() -> str:
    """Returns the name of the processor and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # not Linux
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def finish(
    job: str, ours: float, against: float, unit: str, reach: float, at_least: bool = False, missed: Sequence[str] = ()
) -> None:
    """Prints the result and exits: 0 when `ours` / `against` is at most (or at least) `reach`, 1 otherwise.

    `missed` are other limits that were missed, a sentence each: with one of them it exits with 1, too.
    """
    ratio = ours / against
    reached = ratio >= reach if at_least else ratio <= reach
    print(f"on {processor()}")
    print(f"{job}: {ratio:.3g}, {'' if reached else 'NOT '}{'at least' if at_least else 'at most'} {reach:.3g}")
    for limit in missed:
        print(f"error: {limit}")
    result = {"job": job, "ours": ours, "against": against, "unit": unit, "ratio": round(ratio, 3), "reach": reach}
    print(json.dumps(result), flush=True)
    sys.exit(not reached or bool(missed))
