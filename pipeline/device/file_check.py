"""Checks a .tflite file by reading it; nothing of it is loaded or run.

It is a FlatBuffer of
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs, which LiteRT
loads without verifying it: an offset that leads out of the file ends the process.
"""

import math
import os
import struct
from collections.abc import Iterable

from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import UnsafeModel
from pipeline.releases.base import Releases
from pipeline.releases.model_ops import TFLITE
from pipeline.releases.record import Release

IDENTIFIER = b"TFL3"
MOST_BYTES = 512 << 20  # of a file, and of all its tensors together
MOST_PARTS = 10_000  # tensors, operators and so on: DenseNet121 has 1,000

# Bytes of a number. Others, such as text and resources, are no part of a network for images.
_SIZES = {
    "FLOAT32": 4,
    "FLOAT16": 2,
    "INT32": 4,
    "UINT8": 1,
    "INT64": 8,
    "BOOL": 1,
    "INT16": 2,
    "INT8": 1,
    "UINT32": 4,
    "INT4": 1,  # two numbers share one in constants only
}
_TYPES = {number: name for name, number in vars(schema.TensorType).items() if name in _SIZES}
_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def fetch(releases: Releases, release: Release, path: str) -> None:
    """Writes the device model of a release, which has one, to a new file. Raises BrokenRelease or UnsafeModel."""
    releases.fetch_device_model(release, path)
    check(path, f"The device model of release {release.tag}")


def check(path: str, what: str) -> None:
    """Raises UnsafeModel, about the model `what`, unless the file is whole and can only compute."""
    if os.path.getsize(path) > MOST_BYTES:
        raise UnsafeModel(what, f"its file has more than {MOST_BYTES:,} bytes")
    with open(path, "rb") as file:
        data = _Bytes(file.read())
    try:
        _check(data)
    except (struct.error, TypeError, IndexError, OverflowError) as problem:  # what the generated reader raises
        raise UnsafeModel(what, f"its file is damaged ({problem})") from None
    except ValueError as problem:
        raise UnsafeModel(what, str(problem)) from None


class _Bytes(bytes):
    """Bytes that cannot be read beyond their end, as FlatBuffers reads text."""

    def __getitem__(self, key: int | slice):
        if isinstance(key, slice) and key.stop > len(self):
            raise IndexError(f"text ends at {key.stop:,} of {len(self):,} bytes")
        return super().__getitem__(key)


def _check(data: _Bytes) -> None:
    if bytes(data)[4:8] != IDENTIFIER:
        raise ValueError("its file is no TensorFlow Lite model")
    _count_parts(schema.Model.GetRootAs(data))
    model = schema.ModelT.InitFromPackedBuf(data)  # reads everything
    (graph,) = model.subgraphs
    names = [_operator(code) for code in model.operatorCodes or ()]
    if refused := sorted(set(names) - TFLITE):
        raise ValueError(f"it has the operators {', '.join(refused)}")
    tensors, buffers = len(graph.tensors), len(model.buffers)
    for operator in graph.operators or ():
        _check_index(operator.opcodeIndex, len(names), "an operator")
        for index in (*_numbers(operator.inputs), *_numbers(operator.outputs)):
            if index != -1:  # an input that is left out
                _check_index(index, tensors, "a tensor")
    for index in (*_numbers(graph.inputs), *_numbers(graph.outputs)):
        _check_index(index, tensors, "a tensor")
    for buffer in model.buffers:
        # data of a large file lies behind the FlatBuffer
        if buffer.offset + buffer.size > len(data):
            raise ValueError(
                f"its file is damaged (data end at {buffer.offset + buffer.size:,} of {len(data):,} bytes)"
            )
    total = 0
    for tensor in graph.tensors:
        _check_index(tensor.buffer, buffers, "data")
        total += _size(tensor)
    if total > MOST_BYTES:
        raise ValueError(f"its tensors need {total:,} bytes, more than {MOST_BYTES:,}")


def _count_parts(model: schema.Model) -> None:
    """Raises ValueError for more parts than there may be: many of them can share the same bytes."""
    if model.SubgraphsLength() != 1:
        raise ValueError(f"it has {model.SubgraphsLength():,} graphs instead of one")
    graph = model.Subgraphs(0)
    tensors = graph.TensorsLength()
    counts = [tensors, graph.OperatorsLength(), model.OperatorCodesLength(), model.BuffersLength()]
    counts += [model.MetadataLength(), model.SignatureDefsLength()]
    if max(counts) > MOST_PARTS:
        raise ValueError(f"it has {max(counts):,} parts of a kind, more than {MOST_PARTS:,}")
    for signature in map(model.SignatureDefs, range(model.SignatureDefsLength())):
        if signature.InputsLength() > tensors or signature.OutputsLength() > tensors:
            raise ValueError("a signature has more inputs or outputs than there are tensors")
    for tensor in map(graph.Tensors, range(tensors)):
        if tensor.Sparsity() or tensor.VariantTensorsLength():
            raise ValueError("it has sparse or variant tensors")


def _operator(code: schema.OperatorCodeT) -> str:
    # the first field is a byte, and was the only one when there were fewer operators
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATORS.get(number, f"number {number}")
    return f"{name} {code.customCode!r}" if name == "CUSTOM" else name


def _size(tensor: schema.TensorT) -> int:
    """Returns the bytes that a tensor needs. Raises ValueError for one that is not of numbers."""
    if tensor.type not in _TYPES:
        raise ValueError(f"it has a tensor of the type {tensor.type}, which is not of numbers")
    shape = _numbers(tensor.shape)
    if any(side < 0 for side in shape):
        raise ValueError(f"it has a tensor of the shape {shape}")
    return math.prod(shape) * _SIZES[_TYPES[tensor.type]]


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ValueError(f"its file is damaged (it names {what} with the number {index}, of {count})")


def _numbers(vector: Iterable[int] | None) -> list[int]:
    return [int(number) for number in vector] if vector is not None else []
