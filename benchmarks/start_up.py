"""CPU time of `python -m ci --help` against `python -c pass`: a workflow starts many commands."""

import statistics
import subprocess
import sys

import measure

TIMES = 15


def main():
    ours, against = [], []
    for _ in range(TIMES):  # in turn, so that both meet the same machine
        ours.append(measure.run([sys.executable, "-m", "ci", "--help"]).cpu)
        against.append(measure.run([sys.executable, "-c", "pass"]).cpu)
    traced = [sys.executable, "-X", "importtime", "-m", "ci", "--help"]
    process = subprocess.run(traced, cwd=measure.ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    if "tensorflow" in imported or "ci.streams" not in imported:
        sys.exit(f"--help imported TensorFlow, or nothing of ours: {sorted(imported)}")
    print(f"{TIMES} runs each; --help imports {len(imported)} modules, TensorFlow is not among them")
    seconds = [statistics.median(runs) for runs in (ours, against)]
    measure.finish("start_up", *(round(second * 1000, 1) for second in seconds), "CPU ms", 3)


if __name__ == "__main__":
    main()
