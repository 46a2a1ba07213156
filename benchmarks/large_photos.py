"""Memory of training and evaluation on photographs of 12 to 48 megapixels, on 2 and on 16 threads, against 2 GB.

60 photographs, half of them reddish, are imported and trained on, and 60 others are evaluated. What counts is the most
memory that a command and its children have resident at once, looked at ten times a second. On a machine with fewer than
16 processors, TensorFlow's pools have 16 threads all the same.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import measure

PHOTOGRAPHS = 60
SIZES = [(4000, 3000), (5472, 3648), (6000, 4000), (8064, 6048)]  # 12, 20, 24 and 48 megapixels
THREADS = [2, 16]
MOST = 2_000  # MB
COMMANDS = [["import-images", "first"], ["train"], ["import-images", "later", "--collect"], ["evaluate"]]
EASY = {"ACCURACY_THRESHOLD": "0", "LABEL_FLOOR": "0"}  # the model is to be released, however bad it is


def main() -> None:
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="large-photos-") as folder:
        photographs(pathlib.Path(folder, "first"), 0)
        photographs(pathlib.Path(folder, "later"), PHOTOGRAPHS)
        for threads in THREADS:
            workspace = {"WORKSPACE": os.path.join(folder, f"workspace-{threads}"), "PYTHONPATH": str(measure.ROOT)}
            for command in COMMANDS:
                peak = most_memory([sys.executable, "-m", "ci", *command], folder, threads, EASY | workspace)
                peaks[command[0], threads] = peak
                print(f"{' '.join(command):<32} {threads:2} threads: {peak:6,.0f} MB", flush=True)
    measure.finish("large_photos", round(max(peaks.values())), MOST, "MB", 1.0)


def most_memory(command: list[str], folder: str, threads: int, settings: dict[str, str]) -> float:
    """Runs a command; returns the most megabytes that it and its children had in memory at once."""
    pools = {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
    processors = sorted(os.sched_getaffinity(0))[:threads]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | settings | pools,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    most = 0.0
    while process.poll() is None:
        most = max(most, resident(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return most


def resident(root: int) -> float:
    """Returns the resident megabytes of a process and its children, from /proc."""
    children: dict[int, list[int]] = {}
    pages = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        children.setdefault(int(fields[1]), []).append(int(name))
        pages[int(name)] = int(fields[21])
    waiting, total = [root], 0
    while waiting:
        process = waiting.pop()
        total += pages.get(process, 0)
        waiting += children.get(process, [])
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def photographs(folder: pathlib.Path, first: int) -> None:
    """Draws clouds of colours with the grain of a camera: about 0.2 bytes a pixel as JPEG, every fifth progressive."""
    import numpy
    from PIL import Image, ImageChops

    draw = numpy.random.default_rng(first)
    grain = Image.fromarray((128 + draw.normal(0, 6, (1024, 1024, 3))).astype("uint8"))
    for number in range(PHOTOGRAPHS):
        label, size = ("red", "any")[number % 2], SIZES[number % len(SIZES)]
        coarse = draw.integers(0, 256, (24, 32, 3)).astype("uint8")
        coarse[..., 1:] //= 1 + (label == "red")
        photograph = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        for left in range(0, size[0], 1024):
            for top in range(0, size[1], 1024):
                part = photograph.crop((left, top, left + 1024, top + 1024))
                photograph.paste(ImageChops.add(part, grain, offset=-128), (left, top))
        (folder / label).mkdir(parents=True, exist_ok=True)
        photograph.save(folder / label / f"{first + number}.jpg", quality=90, progressive=number % 5 == 4)


if __name__ == "__main__":
    main()
