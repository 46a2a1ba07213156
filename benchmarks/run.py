"""Runs the benchmarks one after another and shows what each reached: `make bench`, or `make bench JOBS=counting`."""

import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PASSED_OVER = {"run", "measure"}


def jobs() -> list[str]:
    """The names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PASSED_OVER)


def run(job: str) -> dict:
    """Runs one benchmark and shows what it says. Returns what its last line tells, `reached` and `seconds` added."""
    began = time.monotonic()
    last = ""
    process = subprocess.Popen([sys.executable, HERE / f"{job}.py"], cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        last = line.strip() or last
    reached = process.wait() == 0
    try:
        told = json.loads(last)
    except ValueError:
        told = {}  # it broke off
    return told | {"job": job, "reached": reached and bool(told), "seconds": time.monotonic() - began}


def row(told: dict) -> str:
    verdict = "reached" if told["reached"] else "MISSED" if "ratio" in told else "FAILED"
    numbers = [f"{told[name]:,.4g}" if name in told else "-" for name in ("ours", "against", "ratio", "reach")]
    return "{:<18}{:>12}{:>12}{:>10}{:>10}  {:<9}{:<22}{:>6.0f} s".format(
        told["job"], *numbers, verdict, told.get("unit", ""), told["seconds"]
    )


def main(wanted: list[str]) -> None:
    unknown = set(wanted) - set(jobs())
    if unknown:
        sys.exit(f"error: no benchmark is called {', '.join(sorted(unknown))}: there are {', '.join(jobs())}.")
    results = []
    for job in wanted or jobs():
        print(f"{job}:", flush=True)
        results.append(run(job))
    print(f"\n{'job':<18}{'ours':>12}{'against':>12}{'ratio':>10}{'reach':>10}  {'':<9}{'unit':<22}{'took':>6}")
    print("\n".join(map(row, results)))
    sys.exit(not all(told["reached"] for told in results))


if __name__ == "__main__":
    main(sys.argv[1:])
