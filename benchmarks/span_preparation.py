"""CPU seconds to make a span of 100,000 images of 3 KB, against reading, checksumming and writing the same bytes.

The latter is the minimum for any preparation. The benchmark measures `import-images`, which also checks that each image
decodes, finds duplicates, lists its sources, and starts and ends like every command. `prepare-span` does the same and
moves each image, so that a kill at any moment loses none: that rename costs the file system more than all the reading,
and is printed separately. Each side has its own copy of the images that was not read before. Memory is compared with
that for 20,000 images.
"""

import os
import pathlib
import sys
import tempfile

import google_crc32c
import measure

MANY, FEW = 100_000, 20_000
LABELS = 10
MOST_MEMORY = 1.5  # times that of FEW


def main():
    with tempfile.TemporaryDirectory(prefix="span-preparation-") as folder:
        places = {name: pathlib.Path(folder, name) for name in ("raw", "imported", "prepared", "few")}
        for name, place in places.items():
            size = collect(place, FEW if name == "few" else MANY)
        print(f"{MANY:,} images of {size:,.0f} bytes", flush=True)
        raw = [sys.executable, __file__, "--raw", str(places["raw"] / "collected"), str(places["raw"] / "out")]
        costs = {
            "read, crc32c, write": measure.run(raw),
            "import-images": ci("import-images", places["imported"] / "collected", workspace=places["imported"]),
            "prepare-span": ci("prepare-span", workspace=places["prepared"]),
        }
        smaller = ci("prepare-span", workspace=places["few"])
    against, ours, prepared = costs.values()
    for name, cost in costs.items():
        print(f"{name:<20} {cost.cpu:6.2f} CPU s {cost.peak / 2**20:6.1f} MB, {cost.cpu / against.cpu:.2f} times")
    memory = max(ours.peak, prepared.peak) / smaller.peak
    print(f"{FEW:,} images take {smaller.peak / 2**20:.1f} MB; {MANY:,} take {memory:.2f} times that")
    if memory > MOST_MEMORY:
        sys.exit(f"error: memory grows with the images: {memory:.2f} times, where {MOST_MEMORY} are allowed.")
    measure.finish("span_preparation", round(ours.cpu, 2), round(against.cpu, 2), "CPU s", 2.0)


def ci(*command: object, workspace: pathlib.Path) -> measure.Cost:
    return measure.run([sys.executable, "-m", "ci", *map(str, command), "--json"], WORKSPACE=str(workspace))


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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--raw"]:
        read_and_write(*sys.argv[2:])
    else:
        main()
