"""The program that runs a model to be served: it has no credentials, no network, and no files but the model's.

    python -m pipeline.serving.server.model_process MODEL FOLDER ROWS

MODEL is the folder of a SavedModel, or of a device model: `tflite` and device.json. FOLDER is one for temporary files,
ROWS the size of a batch. It first writes what the model takes, after a warm-up with one row and with ROWS, then answers
batches on stdin until that is closed; model_client.py has the other end.

A message is a head in JSON and a body of bytes. Of a batch, `columns` says what the body holds, input by input: strings
as their sizes, numbers as their type and shape; `parts` has the number of rows of each request, which are answered
apart: one that the model refuses spoils no other.
"""

import base64
import concurrent.futures
import io
import itertools
import json
import math
import os
import re
import struct
import sys
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from pipeline import confinement
from pipeline.device.released import TFLITE

SIZES = struct.Struct("<II")  # bytes of the head and of the body that follow
AHEAD = 2  # batches that it is sent before they are answered
LARGE = 16_384  # bytes of an image on average, from which on the rows of a batch are divided among processors

Columns = Mapping[str, Any]  # an array of rows for each input; object for strings


class SavedModel:
    """A SavedModel's signature serving_default."""

    def __init__(self, folder: str):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports missing GPUs as errors
        import tensorflow as tf

        self._tf = tf
        self._model = tf.saved_model.load(folder)
        if "serving_default" not in self._model.signatures:
            raise ValueError('Serving signature key "serving_default" not found.')
        self._call = self._model.signatures["serving_default"]
        self._specs = self._call.structured_input_signature[1]
        self.inputs = {name: _described(spec) for name, spec in self._specs.items()}

    def run(self, columns: Columns) -> dict[str, np.ndarray]:
        """Returns the outputs for a batch. Raises ValueError for what the model refuses."""
        try:
            tensors = {name: self._tf.constant(column, self._specs[name].dtype) for name, column in columns.items()}
            return {name: tensor.numpy() for name, tensor in self._call(**tensors).items()}
        except self._tf.errors.InvalidArgumentError as error:
            raise ValueError(_reason(str(error))) from None


def _described(spec: Any) -> dict[str, Any]:
    dtype = "string" if spec.dtype.name == "string" else spec.dtype.name
    return {"dtype": dtype, "shape": None if spec.shape.rank is None else spec.shape.as_list()[1:], "images": False}


def _reason(message: str) -> str:
    """Returns what an operation says of itself in TensorFlow's message, without the trace of the graph."""
    before_trace = re.split(r"\n\t? *\[\[|\[Op:", message, maxsplit=1)[0]
    return before_trace.strip().rpartition("\n")[2].strip()[:1000] or "The model refuses the instances."


class DeviceModel:
    """A device model: pixels or the bytes of an image -> what the model for the cloud gives, too."""

    def __init__(self, folder: str):
        from pipeline.device import description
        from pipeline.device.input import pixels
        from pipeline.device.litert import LiteRTModel

        self._described, self._pixels = description.read(folder), pixels
        self._model = LiteRTModel(os.path.join(folder, TFLITE))
        self.inputs = {"image": {"dtype": "float32", "shape": self._model.shape[1:], "images": True}}

    def run(self, columns: Columns) -> dict[str, np.ndarray]:
        images = columns["image"]
        if images.dtype == object:
            images = [self._decoded(number, image) for number, image in enumerate(images)]
        probabilities = self._model.predict(images)
        labels = np.array([label.encode() for label in self._described.labels], object)
        return {
            "label": labels[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "probabilities": probabilities,
            "all_classes": np.tile(labels, (len(images), 1)),
        }

    def _decoded(self, number: int, image: bytes) -> np.ndarray:
        try:
            return self._pixels(image, self._described.input)
        except OSError:
            raise ValueError(f"not a JPEG or PNG that can be decoded: images [{number}]") from None


def load(folder: str) -> SavedModel | DeviceModel:
    """Loads the model of a folder."""
    return (DeviceModel if os.path.exists(os.path.join(folder, TFLITE)) else SavedModel)(folder)


class Runner:
    """Answers batches with a model, the rows of a batch of large images on all processors."""

    def __init__(self, model: SavedModel | DeviceModel):
        self._model = model
        # LiteRT's interpreter is for one thread; TensorFlow decodes an image on one and releases Python's lock
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = 1 if isinstance(model, DeviceModel) else self._threads
        self.batches = min(AHEAD, self._threads)  # that it computes at a time
        self._pool = concurrent.futures.ThreadPoolExecutor(self._threads)

    def warm_up(self, rows: int) -> None:
        """Runs the model once with one row and once with `rows`: the first call of a size allocates and compiles."""
        for count in (1, rows):
            try:
                self._model.run({name: _filler(given, count) for name, given in self._model.inputs.items()})
            except ValueError:
                continue  # it refuses made-up instances, and has computed all the same

    def answers(self, columns: Columns, parts: list[int], large: bool = False) -> list[dict[str, Any]]:
        """Returns for each part of a batch {"rows": [JSON]} or {"error": text}."""
        try:
            rows = self._rows(columns, sum(parts), large)
        except ValueError as error:
            if len(parts) == 1:
                return [{"error": f"{error}"}]
            half = len(parts) // 2
            first = sum(parts[:half])
            return [
                *self.answers({name: column[:first] for name, column in columns.items()}, parts[:half], large),
                *self.answers({name: column[first:] for name, column in columns.items()}, parts[half:], large),
            ]
        ends = np.cumsum(parts).tolist()
        return [{"rows": rows[end - count : end]} for count, end in zip(parts, ends, strict=True)]

    def _rows(self, columns: Columns, count: int, large: bool) -> list[bytes]:
        """Returns the predictions as JSON, one a row."""
        if not large or min(count, self._threads) == 1:
            return in_rows(self._model.run(columns), count)
        step = math.ceil(count / self._threads)
        slices = [slice(start, min(start + step, count)) for start in range(0, count, step)]
        runs = [
            self._pool.submit(self._model.run, {name: column[some] for name, column in columns.items()})
            for some in slices
        ]
        found = [run.result() for run in runs]
        return [
            row for some, outputs in zip(slices, found, strict=True) for row in in_rows(outputs, some.stop - some.start)
        ]


def _filler(given: Mapping[str, Any], count: int) -> np.ndarray:
    shape = [count, *(side or 1 for side in given["shape"] or ())]
    if given["dtype"] != "string":
        return np.zeros(shape, given["dtype"])
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    return np.full(shape, png.getvalue(), object)


def in_rows(outputs: Mapping[str, np.ndarray], count: int) -> list[bytes]:
    """Returns JSON for each row: an object of all outputs, or the value where there is only one."""
    for name, output in outputs.items():
        if output.shape[:1] != (count,):
            raise ValueError(f"The model's output {name} has the shape {list(output.shape)}, not {count} rows.")
    columns = {name: _jsonable(name, output.tolist(), output.dtype == object) for name, output in outputs.items()}
    if len(columns) == 1:
        return [_encode(value).encode() for value in next(iter(columns.values()))]
    names = tuple(columns)
    return [_encode(dict(zip(names, row, strict=True))).encode() for row in zip(*columns.values(), strict=True)]


_encode = json.JSONEncoder().encode


def _jsonable(name: str, values: list[Any], strings: bool) -> list[Any]:
    """Decodes strings; those of an output whose name ends with `_bytes` are bytes, and become base64."""
    if not strings:
        return values
    if values and isinstance(values[0], list):
        return [_jsonable(name, each, strings) for each in values]
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    return [value.decode(errors="replace") for value in values]


def read(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Reads a message; None at the end."""
    sizes = file.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    head, body = SIZES.unpack(sizes)
    return json.loads(file.read(head)), file.read(body)


def message(head: Mapping[str, Any], *body: bytes) -> bytes:
    """Returns the bytes of a message."""
    text = json.dumps(head).encode()
    return b"".join([SIZES.pack(len(text), sum(map(len, body))), text, *body])


def unpacked(head: Mapping[str, Any], body: bytes) -> dict[str, np.ndarray]:
    """Returns the columns of a batch."""
    columns, at = {}, 0
    for name, given in head["columns"].items():
        if "sizes" in given:
            values = np.empty(len(given["sizes"]), object)
            for number, size in enumerate(given["sizes"]):
                values[number] = body[at : at + size]
                at += size
            columns[name] = values.reshape(given["shape"])
        else:
            size = math.prod(given["shape"]) * np.dtype(given["dtype"]).itemsize
            columns[name] = np.frombuffer(body[at : at + size], given["dtype"]).reshape(given["shape"])
            at += size
    return columns


def answer_batches(runner: Runner, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers batches until there are no more, in their order.

    Each of a few threads reads a batch, computes it, and writes the answers when those to the batch before are
    written: while one thread writes JSON, another has the processors compute.
    """
    reading, writing, numbers, written = threading.Lock(), threading.Condition(), itertools.count(), 0

    def answer() -> None:
        nonlocal written
        while True:
            with reading:
                asked, number = read(requests), next(numbers)
            if asked is None:
                return
            answered = _answered(runner, *asked)
            with writing:
                while written != number:
                    writing.wait()
                answers.write(answered)
                answers.flush()
                written += 1
                writing.notify_all()

    pool = concurrent.futures.ThreadPoolExecutor(runner.batches)
    for thread in concurrent.futures.as_completed([pool.submit(answer) for _ in range(runner.batches)]):
        thread.result()


def _answered(runner: Runner, head: Mapping[str, Any], body: bytes) -> bytes:
    """Returns the message that answers a batch."""
    found = runner.answers(unpacked(head, body), head["parts"], len(body) > LARGE * sum(head["parts"]))
    parts = [
        {"error": part["error"]} if "error" in part else {"rows": [len(row) for row in part["rows"]]} for part in found
    ]
    return message({"parts": parts}, *(row for part in found for row in part.get("rows", [])))


def main(model_folder: str, folder: str, rows: str) -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what libraries print apart from the answers
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    python = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix)]
    missing = confinement.confine([*python, project, model_folder], [folder])
    model = load(model_folder)
    runner = Runner(model)
    runner.warm_up(int(rows))

    answers.write(message({"missing": missing, "inputs": model.inputs}))
    answers.flush()
    answer_batches(runner, requests, answers)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        text = " ".join(str(error).split())  # TensorFlow's messages have many lines
        print(f"{type(error).__name__}: {text}", file=sys.stderr, flush=True)
        os._exit(1)  # without waiting for a thread that waits for the next batch
