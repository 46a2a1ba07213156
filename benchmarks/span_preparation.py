"""CPU seconds that the looks of 100,000 images of 3 KB add to a span, against only decoding these images.

Looks (pipeline/data/likeness.py) keep images that are the same to the eye on one side of the split. What they cost is
the difference between `import-images` and the same command without taking and comparing them. They are measured against
decoding the brightness of images in memory, at the reduced scale that a look needs. All programs take turns, and the
cheapest turn of each counts.

What the rest of an import costs, `without looks`, is compared with the minimum for any: to read, checksum and write
the same bytes. It also checks that each image decodes, finds duplicates, hashes images and shards, lists sources, and
starts and ends like every command. `prepare-span` does what `import-images` does and moves each image, so that a kill
at any moment loses none: that rename costs the file system more than all the reading. What an image takes of memory is
the difference from 20,000 images. Seconds are printed beside CPU seconds.
"""

import os
import pathlib
import runpy
import sys
import tempfile
import time

import google_crc32c
import measure

MANY, FEW = 100_000, 20_000
LABELS = 10
TURNS = 3
MOST_MEMORY = 1_000  # bytes an image: its look, what finding like ones needs, its sha256, its label
MOST_TIMES = 5.5  # CPU of an import without looks, of that of the minimum


def main():
    with tempfile.TemporaryDirectory(prefix="span-preparation-") as folder:
        place = pathlib.Path(folder)
        print(f"{MANY:,} images of {collect(place, MANY):,.0f} bytes", flush=True)
        costs = cheapest(place)
        prepared = ci("prepare-span", workspace=place)
    with tempfile.TemporaryDirectory(prefix="span-preparation-") as folder:
        collect(pathlib.Path(folder), FEW)
        smaller = ci("prepare-span", workspace=folder)
    raw, without = costs["read, crc32c, write"], costs["without looks"]
    for name, cost in (costs | {"prepare-span": prepared}).items():
        print(
            f"{name:<20} {cost.cpu:6.2f} CPU s, {cost.cpu / raw.cpu:5.2f} times; {cost.wall:6.2f} s, "
            f"{cost.wall / raw.wall:5.2f} times; {cost.peak / 2**20:6.1f} MB"
        )
    memory = (max(costs["import-images"].peak, prepared.peak) - smaller.peak) / (MANY - FEW)
    print(f"{FEW:,} images take {smaller.peak / 2**20:.1f} MB, and each further one {memory:,.0f} bytes")
    looks, decode = costs["import-images"].cpu - without.cpu, float(costs["decode"].out)
    print(f"looks cost {looks:.2f} CPU s, decoding {decode:.2f}")
    missed = []
    if memory > MOST_MEMORY:
        missed.append(f"an image takes {memory:,.0f} bytes of memory, where {MOST_MEMORY:,} are allowed.")
    if without.cpu > MOST_TIMES * raw.cpu:
        missed.append(f"an import without looks costs {without.cpu / raw.cpu:.2f} times the minimum.")
    measure.finish("span_preparation", round(looks, 2), round(decode, 2), "CPU s", 1.5, missed=missed)


def cheapest(place: pathlib.Path) -> dict[str, measure.Cost]:
    """Returns the cost of each program's cheapest turn, and its quickest, with the images in `place`/collected."""
    images, imports = str(place / "collected"), ["import-images", str(place / "collected"), "--json"]
    programs = {
        "read, crc32c, write": [sys.executable, __file__, "--raw", images, str(place / "out")],
        "decode": [sys.executable, __file__, "--decode", images],
        "without looks": [sys.executable, __file__, "--without-looks", *imports],
        "import-images": [sys.executable, "-m", "ci", *imports],
    }
    costs: dict[str, list[measure.Cost]] = {name: [] for name in programs}
    for _ in range(TURNS):
        for name, program in programs.items():
            with tempfile.TemporaryDirectory(dir=place) as workspace:
                costs[name].append(measure.run(program, WORKSPACE=workspace))
    return {name: min(turns)._replace(wall=min(turn.wall for turn in turns)) for name, turns in costs.items()}


def ci(*command: str, workspace: str | pathlib.Path) -> measure.Cost:
    return measure.run([sys.executable, "-m", "ci", *command, "--json"], WORKSPACE=str(workspace))


def collect(workspace: pathlib.Path, images: int) -> float:
    """Fills `workspace`/collected with distinct JPEGs; returns their mean size in bytes."""
    import numpy  # imported here so that it does not count in the measured process
    import simplejpeg

    draw = numpy.random.default_rng(0)
    size = 0
    for number in range(images):
        label = workspace / "collected" / f"label-{number % LABELS}"
        if number < LABELS:
            label.mkdir(parents=True)
        pixels = draw.integers(0, 256, (48, 48, 3), dtype="uint8")
        size += (label / f"{number:06d}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=60))
    return size / images


def read_and_write(folder: str, out: str) -> None:
    """Reads every file in a folder's subfolders, computes its crc32c and appends it to `out`."""
    with open(out, "wb", buffering=1 << 20) as written:
        for label in os.scandir(folder):
            for entry in os.scandir(label.path):
                file = os.open(entry.path, os.O_RDONLY)
                data = os.read(file, 1 << 16)
                os.close(file)
                google_crc32c.value(data)
                written.write(data)
        written.flush()
        os.fsync(written.fileno())


def decode(folder: str) -> None:
    """Prints the CPU seconds of decoding every file in a folder's subfolders at the scale that looks need."""
    import simplejpeg

    from pipeline.data.likeness import PIXELS

    spent = 0.0
    for label in pathlib.Path(folder).iterdir():
        images = [file.read_bytes() for file in label.iterdir()]
        start = time.process_time()
        for data in images:
            simplejpeg.decode_jpeg(data, "GRAY", min_height=PIXELS, min_width=PIXELS, min_factor=1)
        spent += time.process_time() - start
    print(spent)


def without_looks(*command: str) -> None:
    """Does what `python -m ci` does, but takes no looks and compares none."""
    import numpy

    from pipeline.data import likeness, preparation, split

    class NoLooks:
        def __init__(self):
            self._count = 0

        def add(self, *image: object) -> None:
            self._count += 1

        def records(self) -> numpy.ndarray:
            return numpy.zeros(self._count, likeness.RECORD)

    preparation.Looks = NoLooks
    split.arrange = lambda *images: split.Arrangement()
    sys.argv = ["ci", *command]
    runpy.run_module("ci", run_name="__main__", alter_sys=True)


PROGRAMS = {"--raw": read_and_write, "--decode": decode, "--without-looks": without_looks}

if __name__ == "__main__":
    if program := PROGRAMS.get(sys.argv[1] if sys.argv[1:] else ""):
        sys.path.insert(0, str(measure.ROOT))
        program(*sys.argv[2:])
    else:
        main()
