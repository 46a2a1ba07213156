"""CPU time of `python -m ci --help` against `python -c pass`, since a workflow starts many commands."""

import statistics
import subprocess
import sys

import measure

TIMES = 15


def main():
    ours, against = [], []
    for _ in range(TIMES):  # alternating, so that load on the machine affects both
        ours.append(measure.run([sys.executable, "-m", "ci", "--help"]).cpu)
        against.append(measure.run([sys.executable, "-c", "pass"]).cpu)
    traced = [sys.executable, "-X", "importtime", "-m", "ci", "--help"]
    process = subprocess.run(traced, cwd=measure.ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    if "tensorflow" in imported or "ci.streams" not in imported:
        sys.exit(f"error: --help imported TensorFlow, or not the ci package: {sorted(imported)}")
    print(f"{TIMES} runs each; --help imports {len(imported)} modules, not TensorFlow")
    seconds = [statistics.median(runs) for runs in (ours, against)]
    measure.finish("start_up", *(round(second * 1000, 1) for second in seconds), "CPU ms", 3)


if __name__ == "__main__":
    main()
