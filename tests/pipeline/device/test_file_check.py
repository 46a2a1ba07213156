"""What a .tflite file is refused for before anything loads it."""

import random
import struct
from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from pipeline.device import file_check
from pipeline.errors import UnsafeModel


@pytest.fixture
def good(bright_or_dark) -> bytes:
    return (bright_or_dark / "tflite").read_bytes()


@pytest.fixture
def reason(tmp_path) -> Callable[[bytes], str]:
    """Returns why a file is refused, "" for one that is not."""

    def reason(data: bytes) -> str:
        path = tmp_path / "tflite"
        path.write_bytes(data)
        try:
            file_check.check(str(path), "The device model")
        except UnsafeModel as refused:
            return refused.reason
        return ""

    return reason


def changed(data: bytes, change: Callable[[schema.ModelT], object]) -> bytes:
    """Returns a well-formed file with the changed model."""
    model = schema.ModelT.InitFromPackedBuf(data)
    change(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def graph(change: Callable[[schema.SubGraphT], object]) -> Callable[[schema.ModelT], object]:
    return lambda model: change(model.subgraphs[0])


def operator(name: str, custom: str | None = None) -> Callable[[schema.ModelT], object]:
    def change(model: schema.ModelT) -> None:
        code = model.operatorCodes[0]
        code.builtinCode, code.customCode = getattr(schema.BuiltinOperator, name), custom
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)

    return change


def set_of(what: str, **fields: object) -> Callable[[schema.ModelT], object]:
    """Sets fields of the first tensor, operator or buffer."""

    def change(model: schema.ModelT) -> None:
        first = (model.buffers if what == "buffers" else getattr(model.subgraphs[0], what))[0]
        for name, value in fields.items():
            setattr(first, name, value)

    return change


def test_a_converted_model_is_good_also_after_it_was_written_again(good, reason):
    assert reason(good) == "" and reason(changed(good, lambda model: None)) == ""


@pytest.mark.parametrize(
    "change, expected",
    [
        (operator("WHILE"), "the operators WHILE"),
        (operator("CALL_ONCE"), "the operators CALL_ONCE"),
        (operator("VAR_HANDLE"), "the operators VAR_HANDLE"),
        (operator("CUSTOM", "FlexReadFile"), "the operators CUSTOM b'FlexReadFile'"),
        (lambda model: model.subgraphs.append(model.subgraphs[0]), "2 graphs instead of one"),
        (set_of("tensors", shape=[1, 16384, 16384, 1]), "its tensors need 1,073,7"),
        (set_of("tensors", shape=[2**31 - 1] * 8), "its tensors need "),
        (set_of("tensors", shape=[1, -8, 8, 3]), "a tensor of the shape [1, -8, 8, 3]"),
        (set_of("tensors", type=schema.TensorType.STRING), "which is not of numbers"),
        (set_of("tensors", buffer=99), "it names data with the number 99"),
        (set_of("operators", opcodeIndex=9), "it names an operator with the number 9"),
        (set_of("operators", inputs=np.array([-2], np.int32)), "it names a tensor with the number -2"),
        (graph(lambda of: setattr(of, "outputs", np.array([500], np.int32))), "it names a tensor with the number 500"),
        (set_of("buffers", offset=2**63, size=2**63), "data end at 18,446,744,073,709,551,616"),
        (graph(lambda of: of.operators.extend(of.operators[:1] * 10_000)), "parts of a kind, more than 10,000"),
    ],
)
def test_a_well_formed_file_that_asks_for_too_much_is_refused(good, reason, change, expected):
    assert expected in reason(changed(good, change))


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda data: b"", "no TensorFlow Lite model"),
        (lambda data: b"not a model at all", "no TensorFlow Lite model"),
        (lambda data: data[:4] + b"TFL2" + data[8:], "no TensorFlow Lite model"),
        (lambda data: data[:8], "damaged"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:-40], "damaged"),
        (lambda data: struct.pack("<I", 2**31) + data[4:], "damaged"),  # where the model begins
        (lambda data: struct.pack("<I", len(data) - 2) + data[4:], "damaged"),
        (lambda data: data.replace(struct.pack("<I", 5) + b"image", struct.pack("<I", 2**31) + b"image"), "text ends"),
    ],
)
def test_a_damaged_file_is_refused(good, reason, damage, expected):
    assert expected in reason(damage(good))


def test_no_damage_has_another_end_than_a_reason(good, reason):
    chance = random.Random(0)
    reasons = set()
    for _ in range(300):
        data = bytearray(good)
        place = chance.randrange(len(data) - 4)
        data[place : place + 4] = chance.randbytes(4)
        reasons.add(reason(bytes(data)))
    assert len(reasons) > 10 and "" in reasons
