"""The program that runs a released model: it has no credentials, no network, and no files but the model's.

    python -m pipeline.batch.model_process MODEL FOLDER

MODEL is the folder of a SavedModel, or of a device model; FOLDER is one for temporary files. It first writes what it
could not be confined from, then answers batches of requests on stdin until that is closed; model_client.py has the
other end.
"""

import functools
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from pipeline import confinement
from pipeline.batch.predictor import Classification

SIZE = struct.Struct("<I")  # of the image, or of the line, that follows
NO_MORE = 2**32 - 1  # instead of a size: after the last image of a batch of requests
# What it is, the confidence, the bytes of the label and the number of probabilities (float32) that follow.
ANSWER = struct.Struct("<BfHI")
DEVICE_MEMORY = 2 << 30  # bytes that a device model's process may have; it needs 0.2 GB
UNDECODED, CLASSIFIED, ANSWERED_ALL = range(3)


def main(model_folder: str, folder: str) -> None:
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    project = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    python = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix)]
    missing = confinement.confine([*python, project, model_folder], [folder])
    classify = _load(model_folder)
    line = ", ".join(missing).encode()
    answers.write(SIZE.pack(len(line)) + line)
    answers.flush()
    while head := requests.read(SIZE.size):
        for found in classify(_images(requests, head)):
            if found is None:
                answers.write(ANSWER.pack(UNDECODED, 0, 0, 0))
                continue
            label = found.label.encode()
            answers.write(ANSWER.pack(CLASSIFIED, found.confidence, len(label), len(found.probabilities)))
            answers.write(label + found.probabilities.astype("<f4").tobytes())
        answers.write(ANSWER.pack(ANSWERED_ALL, 0, 0, 0))
        answers.flush()


def _load(folder: str) -> Callable[[Iterable[bytes]], Iterable[Classification | None]]:
    from pipeline.device import description

    if os.path.exists(os.path.join(folder, description.FILE)):
        # A small file can ask for any amount of memory: shapes are computed while it is loaded.
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        most = DEVICE_MEMORY if most == resource.RLIM_INFINITY else min(most, DEVICE_MEMORY)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        from pipeline.batch import on_device  # imports LiteRT

        return on_device.DeviceClassifier(folder).classify
    from pipeline.batch import inference  # imports TensorFlow

    return functools.partial(inference.classify, inference.load(folder))


def _images(requests: BinaryIO, head: bytes) -> Iterator[bytes]:
    while (size := SIZE.unpack(head)[0]) != NO_MORE:
        yield requests.read(size)
        head = requests.read(SIZE.size)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")  # TensorFlow's messages have many lines
