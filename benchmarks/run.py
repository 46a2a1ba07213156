"""Runs the benchmarks one after another and prints a table of results: `make bench`, or `make bench JOBS=counting`."""

import json
import pathlib
import subprocess
import sys
import time

import measure

HERE = pathlib.Path(__file__).resolve().parent
NOT_BENCHMARKS = {"run", "measure"}


def jobs() -> list[str]:
    """The names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def run(job: str) -> dict:
    """Runs one benchmark and shows its output. Returns the JSON of its last line with `reached` and `seconds` added."""
    began = time.monotonic()
    last = ""
    process = subprocess.Popen([sys.executable, HERE / f"{job}.py"], cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
        last = line.strip() or last
    reached = process.wait() == 0
    try:
        result = json.loads(last)
    except ValueError:
        result = {}  # it stopped before its last line
    return result | {"job": job, "reached": reached and bool(result), "seconds": time.monotonic() - began}


def row(result: dict) -> str:
    status = "reached" if result["reached"] else "MISSED" if "ratio" in result else "FAILED"
    numbers = [f"{result[name]:,.4g}" if name in result else "-" for name in ("ours", "against", "ratio", "reach")]
    return "{:<18}{:>12}{:>12}{:>10}{:>10}  {:<9}{:<22}{:>6.0f} s".format(
        result["job"], *numbers, status, result.get("unit", ""), result["seconds"]
    )


def main(wanted: list[str]) -> None:
    unknown = set(wanted) - set(jobs())
    if unknown:
        sys.exit(f"error: unknown benchmark {', '.join(sorted(unknown))}: choose from {', '.join(jobs())}.")
    results = []
    for job in wanted or jobs():
        print(f"{job}:", flush=True)
        results.append(run(job))
    print(f"\non {measure.processor()}")
    print(f"{'job':<18}{'ours':>12}{'against':>12}{'ratio':>10}{'reach':>10}  {'':<9}{'unit':<22}{'took':>6}")
    print("\n".join(map(row, results)))
    sys.exit(not all(result["reached"] for result in results))


if __name__ == "__main__":
    main(sys.argv[1:])
