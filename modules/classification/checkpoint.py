"""Reads a PyTorch checkpoint that holds nothing but tensors, without PyTorch and without running what is in it.

A checkpoint is a pickle, that is a program. This one may name only what rebuilds a tensor. The format is that of
torch.save before version 1.6: five pickles (magic number, protocol version, system, the tensors by name, the keys of
their storages) and then each storage: its length (8 bytes, little endian) and its numbers.
"""

import collections
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Tensor(NamedTuple):
    """A view of a storage; more arguments of torch._utils._rebuild_tensor_v2 are of no use here."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read(file: BinaryIO) -> dict[str, np.ndarray]:
    """Returns the tensors of a checkpoint by name. Raises pickle.UnpicklingError for what is none."""
    dtypes: dict[str, str] = {}
    if _Restricted(file, dtypes).load() != _MAGIC:
        raise pickle.UnpicklingError("this is no checkpoint of PyTorch before 1.6")
    for _ in ("protocol version", "system"):
        _Restricted(file, dtypes).load()
    tensors = _Restricted(file, dtypes).load()
    storages = {key: _storage(file, dtypes[key]) for key in _Restricted(file, dtypes).load()}
    return {name: _array(storages[tensor.storage], tensor) for name, tensor in tensors.items()}


class _Restricted(pickle.Unpickler):
    """Unpickles tensors and ordered dictionaries of them. Notes the dtype of each storage."""

    def __init__(self, file: BinaryIO, dtypes: dict[str, str]):
        super().__init__(file)
        self._dtypes = dtypes

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a checkpoint of plain tensors")

    def persistent_load(self, pid: tuple) -> str:
        _, dtype, key, *_ = pid
        self._dtypes[key] = dtype
        return key


def _storage(file: BinaryIO, dtype: str) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype, count)


def _array(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """Returns a copy of a tensor's numbers, whose strides count numbers of its storage, not bytes."""
    numbers = np.full(tensor.size, tensor.offset)
    for axis, step in enumerate(tensor.stride):
        along = [1] * len(tensor.size)
        along[axis] = -1
        numbers = numbers + np.arange(tensor.size[axis]).reshape(along) * step
    return storage[numbers]
