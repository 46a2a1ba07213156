"""CPU seconds of a local training run on handwritten digits, against the same pipeline with TFX's defaults.

Both use the same spans, network, batch size and epochs; each side is a whole process, imports included.
"""

import json
import os
import sys
import tempfile

import measure

sys.path.insert(0, str(measure.ROOT))

from pipeline.data import digits, spans
from pipeline.data.manifest import SPLITS
from pipeline.storage.factory import open_storage

BATCH = 32


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        images, workspace = os.path.join(folder, "images"), os.path.join(folder, "workspace")
        digits.write(images, digits.FIRST)
        storage = open_storage(workspace)
        spans.import_folder(storage, images)
        (span,) = spans.published(storage)
        in_split = {split: sum(source.split == split for source in span.sources) for split in SPLITS}

        ours = measure.run([sys.executable, "-m", "ci", "train", "--json"], WORKSPACE=workspace)
        accuracy = json.loads(ours.out)["metrics"]["accuracy"]
        steps = [str(-(-in_split[split] // BATCH)) for split in SPLITS]
        defaults = [sys.executable, "-m", "benchmarks.tfx_defaults.run", workspace, *steps]
        against = measure.run(defaults, TF_CPP_MIN_LOG_LEVEL="3")
    print(f"{span.images} images, accuracy {accuracy:.3f}: {ours.cpu:.1f} s, with defaults {against.cpu:.1f} s of CPU")
    print(f"memory {ours.peak / 2**20:.0f} MiB, with defaults {against.peak / 2**20:.0f} MiB")
    measure.finish("local_training", ours.cpu, against.cpu, "CPU s", reach=0.5)


if __name__ == "__main__":
    main()
