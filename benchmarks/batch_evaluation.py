"""Images per second of `evaluate` with the small CNN, against the same network on arrays in memory.

Besides running the network `evaluate` lists, reads, checks and hashes files, decodes and resizes images, and writes
predictions. Start-up, imports and unpacking of the model are excluded: they take the same time for ten images as for a
million. The model is a released one. Both sides alternate, and the best round of each counts.
"""

import io
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import measure

sys.path.insert(0, str(measure.ROOT))

from pipeline.batch import evaluation, here, inference
from pipeline.batch.model_client import ModelClient
from pipeline.data import digits
from pipeline.releases.factory import open_releases
from pipeline.storage.base import Storage
from pipeline.storage.factory import open_storage

IMAGES = 20_000
ROUNDS = 4
BATCH = 256


def main():
    with tempfile.TemporaryDirectory(prefix="batch-evaluation-") as workspace:
        for command in (["import-images", "--demo"], ["train"]):
            measure.run([sys.executable, "-m", "ci", *command, "--json"], WORKSPACE=workspace)
        collect(pathlib.Path(workspace, "collected"), IMAGES)
        storage, releases = open_storage(workspace), open_releases(os.path.join(workspace, "releases"))
        model = inference.load(releases.fetch(releases.newest(), os.path.join(workspace, "model")))
        ours, against = [], []
        with ModelClient(workspace, releases.newest().tag) as client:
            for _ in range(ROUNDS):
                ours.append(speed(lambda: evaluated(storage, client)))
                against.append(speed(lambda: in_memory(model)))
                print(f"evaluate {ours[-1]:,.0f} images/s, in memory {against[-1]:,.0f} images/s", flush=True)
    measure.finish("batch_evaluation", round(max(ours)), round(max(against)), "images/s", 1 / 3, at_least=True)


def collect(folder: pathlib.Path, images: int) -> None:
    """Fills `folder` with distinct PNGs of 32 x 32 pixels: the digits of the changed camera, redrawn for each seed."""
    left, seed = images, 0
    while left > 0:
        left -= digits.write(str(folder / f"{seed}"), digits.CHANGED, limit=left, seed=seed)
        seed += 1
    for path in sorted(folder.glob("*/*/*.png")):
        label = folder / f"label-{path.parent.name}"
        label.mkdir(exist_ok=True)
        path.rename(label / f"{path.parent.parent.name}-{path.name}")
    for empty in sorted(folder.glob("[0-9]*/**/"), reverse=True):
        empty.rmdir()


def evaluated(storage: Storage, client: ModelClient) -> int:
    """Evaluates all collected images; returns how many."""
    predictor = partial(here.predictions, classify=client.classify)
    images = evaluation.new_images(storage, evaluation.LeftOut())
    return evaluation.evaluate_images(images, predictor, io.BytesIO())[0].images


def in_memory(model) -> int:
    """Runs the network on as many random, already decoded images; returns how many."""
    network = model.signatures["predict"]
    shape = network.structured_input_signature[1]["pixels"].shape[1:]
    pixels = inference.tf.random.uniform([BATCH, *shape])
    batches = IMAGES // BATCH
    for _ in range(batches):
        network(pixels=pixels)["label"].numpy()
    return batches * BATCH


def speed(work: Callable[[], int]) -> float:
    """Returns images per second."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
