"""Checkpoints are read without PyTorch, and nothing in them runs."""

import io
import pickle

import numpy as np
import pytest

from modules.classification import checkpoint

MAGIC, PROTOCOL, SYSTEM = (pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


def tensor(key: str, kind: str, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Opcodes of a tensor, as torch.save writes them."""
    # ("storage", torch.<kind>, key, "cpu", numbers, None) as a persistent id, then the call that rebuilds the tensor
    storage = b"(" + text("storage") + b"ctorch\n%b\n" % kind.encode() + text(key) + text("cpu") + b"K\x18NtQ"
    ordered = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + whole(offset)
        + many(size)
        + many(stride)
        + b"\x89"
        + ordered
        + b"tR"
    )


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def whole(value: int) -> bytes:
    return b"M" + value.to_bytes(2, "little")


def many(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def written(tensors: dict[str, bytes], storages: dict[str, np.ndarray]) -> io.BytesIO:
    entries = b"".join(text(name) + opcodes for name, opcodes in tensors.items())
    by_name = b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u."
    numbers = b"".join(len(values).to_bytes(8, "little") + values.tobytes() for values in storages.values())
    return io.BytesIO(MAGIC + PROTOCOL + SYSTEM + by_name + pickle.dumps(list(storages), 2) + numbers)


def test_tensors_are_read_by_name_with_shape_stride_and_type():
    numbers = np.arange(24, dtype="<f4") / 2
    counts = np.array([7], "<i8")
    file = written(
        {
            "whole": tensor("1", "FloatStorage", (2, 3, 4), (12, 4, 1)),
            "transposed": tensor("1", "FloatStorage", (3, 2), (1, 3), offset=6),
            "steps": tensor("2", "LongStorage", (), ()),
        },
        {"1": numbers, "2": counts},
    )

    found = checkpoint.read(file)

    np.testing.assert_array_equal(found["whole"], numbers.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["transposed"], numbers[6:12].reshape(2, 3).T)
    assert found["steps"].dtype == np.int64 and found["steps"] == 7


def test_nothing_that_a_checkpoint_names_is_run(tmp_path):
    class Program:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    file = io.BytesIO(MAGIC + PROTOCOL + SYSTEM + pickle.dumps({"weight": Program()}, 2))

    with pytest.raises(pickle.UnpicklingError, match="open is no part of a checkpoint of plain tensors"):
        checkpoint.read(file)
    assert not (tmp_path / "written").exists()


def test_another_pickle_is_no_checkpoint():
    with pytest.raises(pickle.UnpicklingError, match="no checkpoint of PyTorch"):
        checkpoint.read(io.BytesIO(pickle.dumps([1])))
