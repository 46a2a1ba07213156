"""The protocol of predictions: JSON bodies to tensors, and rows of predictions or errors to JSON.

It is that of Vertex AI, https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements, and of
TensorFlow Serving, https://www.tensorflow.org/tfx/serving/api_rest: `instances`, or the columnar `inputs`.
"""

import binascii
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pipeline.config import Config
from pipeline.serving.server.pixels import pixels_of

SIGNATURE = "serving_default"


class Refusal(Exception):
    """A request that is answered with an error: `status` and, where it can be repeated, the seconds to wait."""

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def invalid(message: str) -> Refusal:
    return Refusal(400, message)


@dataclass(frozen=True)
class Limits:
    """What a request may ask for at most."""

    body: int  # bytes
    instances: int
    pixels: int  # of all images of a request

    @classmethod
    def of(cls, config: Config) -> "Limits":
        return cls(
            int(config.serving_body_megabytes * 1e6),
            config.serving_instances,
            int(config.serving_megapixels * 1e6),
        )


@dataclass(frozen=True)
class Input:
    """An input of a model's serving signature."""

    dtype: str  # of numpy, or "string"
    shape: tuple[int | None, ...] | None  # of one instance; None where any will do
    images: bool = False  # True where the bytes of an image may stand in place of its pixels


class Strings(NamedTuple):
    """Texts or bytes, in rows of a shape, flat: numpy's own arrays of bytes would pad them to the longest."""

    shape: tuple[int, ...]  # of one instance
    values: list[bytes]


Column = np.ndarray | Strings
Inputs = Mapping[str, Input]


@dataclass(frozen=True)
class Instances:
    """The tensors of a request: for each input a column with `count` rows."""

    count: int
    columns: dict[str, Column]
    pixels: int  # of all images
    columnar: bool  # True for `inputs`

    @functools.cached_property
    def form(self) -> tuple[Any, ...]:
        """Returns what two requests must share to be computed as one batch: the types and shapes of their rows."""
        return tuple(
            ("string", column.shape) if isinstance(column, Strings) else (column.dtype.name, column.shape[1:])
            for column in self.columns.values()
        )


def parse(body: bytes, inputs: Inputs, limits: Limits) -> Instances:
    """Returns the tensors of a request for a model with these inputs. Raises Refusal."""
    asked = _loads(body)
    if not isinstance(asked, dict):
        raise invalid("JSON Value: Is not object")
    name = asked.get("signature_name", SIGNATURE)
    if name != SIGNATURE:
        raise invalid(f"Serving signature name: {_short(name)} not found in signature def; there is {SIGNATURE}.")
    if "instances" in asked and "inputs" in asked:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in asked:
        columns = _of_rows(asked["instances"], inputs, limits)
    elif "inputs" in asked:
        columns = _of_columns(asked["inputs"], inputs)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return _checked(columns, inputs, limits, columnar="inputs" in asked)


def predictions(rows: list[bytes], columnar: bool) -> bytes:
    """Returns the body of an answer: `rows` are JSON, one a prediction."""
    if not columnar:
        return b'{"predictions": [' + b", ".join(rows) + b"]}"
    found = json.loads(b"[" + b",".join(rows) + b"]")
    if isinstance(found[0], dict) and set(found[0]) != {"b64"}:
        return json.dumps({"outputs": {name: [row[name] for row in found] for name in found[0]}}).encode()
    return json.dumps({"outputs": found}).encode()


def error(message: str) -> bytes:
    """Returns the body of an answer that is an error."""
    return json.dumps({"error": message}).encode()


def _loads(body: bytes) -> Any:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        return json.loads(body)
    except RecursionError:
        raise invalid("JSON Parse error: it is nested too deeply") from None
    except ValueError as problem:
        raise invalid(f"JSON Parse error: {problem}") from None


def _of_rows(rows: Any, inputs: Inputs, limits: Limits) -> dict[str, list[Any]]:
    """Returns a list of values for each input: https://www.tensorflow.org/tfx/serving/api_rest, row format."""
    if not isinstance(rows, list):
        raise invalid("Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if len(rows) > limits.instances:
        raise invalid(f"{len(rows):,} instances are more than {limits.instances:,}, the most of a request.")
    if not _is_named(rows[0]):
        if len(inputs) > 1:
            raise invalid(f"instances is a plain list, but the model takes objects with {', '.join(inputs)}")
        if any(map(_is_named, rows)):
            raise invalid("Expecting value/list but got object in input list")
        return {next(iter(inputs)): rows}
    for number, row in enumerate(rows):
        if not _is_named(row):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if row.keys() != inputs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list."
                f" JSON object: keys must be equal to: {','.join(inputs)}"
            )
    return {name: [row[name] for row in rows] for name in inputs}


def _of_columns(given: Any, inputs: Inputs) -> dict[str, list[Any]]:
    if not _is_named(given):
        if len(inputs) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        given = {next(iter(inputs)): given}
    for name in inputs:
        if name not in given:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        if not isinstance(given[name], list) or not given[name]:
            raise invalid(f"The input {name} has to be a list with a value for each instance")
    return {name: given[name] for name in inputs}


def _checked(given: Mapping[str, list[Any]], inputs: Inputs, limits: Limits, columnar: bool) -> Instances:
    counts = {len(values) for values in given.values()}
    if len(counts) > 1:
        raise invalid(f"The inputs have {' and '.join(map(str, sorted(counts)))} values, but need the same number")
    (count,) = counts
    if count > limits.instances:
        raise invalid(f"{count:,} instances are more than {limits.instances:,}, the most of a request.")
    columns, pixels = {}, 0
    for name, values in given.items():
        wanted = inputs[name]
        columns[name] = _column(name, values, wanted)
        if isinstance(columns[name], Strings):
            pixels += sum(map(pixels_of, columns[name].values))
    if pixels > limits.pixels:
        raise invalid(f"The images have {pixels:,} pixels, more than {limits.pixels:,}, the most of a request.")
    return Instances(count, columns, pixels, columnar)


def _column(name: str, values: list[Any], wanted: Input) -> Column:
    if wanted.dtype == "string" or (wanted.images and _is_bytes(values[0])):
        return _strings(name, values, () if wanted.images else wanted.shape)
    try:
        array = np.array(values)
    except (ValueError, OverflowError) as problem:
        raise invalid(f"Failed to process input {name}: its values have different shapes ({problem})") from None
    wanted_type = np.dtype(wanted.dtype)
    if array.dtype.kind not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}.get(wanted_type.kind, ""):
        raise invalid(f"JSON Value of input {name} is not of expected type: {wanted.dtype}")
    if wanted_type.kind in "iu":
        range_ = np.iinfo(wanted_type)
        if array.size and (array.min() < range_.min or array.max() > range_.max):
            raise invalid(f"Cannot convert JSON value of input {name} to {wanted.dtype} without loss of precision.")
    _check_shape(name, array.shape[1:], wanted.shape)
    with np.errstate(over="ignore"):
        return array.astype(wanted_type)


def _strings(name: str, values: list[Any], shape: tuple[int | None, ...] | None) -> Strings:
    found: list[bytes] = []
    first: tuple[int, ...] | None = None
    for value in values:
        its = _flatten(name, value, found)
        if first not in (None, its):
            raise invalid(f"Expecting shape {_listed(first)} but got: {_listed(its)}")
        first = its
    _check_shape(name, first, shape)
    return Strings(first, found)


def _flatten(name: str, value: Any, into: list[bytes]) -> tuple[int, ...]:
    """Appends the strings in a value, and returns its shape. Raises Refusal."""
    if isinstance(value, str):
        into.append(value.encode(errors="surrogatepass"))
        return ()
    if _is_bytes(value):
        into.append(_decoded(name, value["b64"]))
        return ()
    if not isinstance(value, list):
        raise invalid(f'JSON Value of input {name} is not of expected type: string, or {{"b64": base64}}')
    shapes = {_flatten(name, each, into) for each in value}
    if len(shapes) > 1:
        raise invalid(f"Failed to process input {name}: its values have different shapes")
    return (len(value), *(shapes.pop() if shapes else ()))


def _decoded(name: str, text: str) -> bytes:
    digits = len(text.rstrip("="))
    try:
        # without base64.b64decode, which compares the whole text with a pattern first
        data = binascii.a2b_base64(text if len(text) % 4 == 0 else text + "=" * (-len(text) % 4))
        if digits % 4 != 1 and len(data) == digits * 3 // 4:  # otherwise it has left out what is no digit
            return data
    except ValueError:
        pass
    raise invalid(f"Unable to base64 decode input {name}")


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> None:
    if wanted is None or wanted == shape == ():
        return
    fits = len(shape) == len(wanted) and all(known in (None, side) for side, known in zip(shape, wanted, strict=True))
    if not fits or not math.prod(shape):
        raise invalid(f"Expecting shape {_listed(wanted)} of input {name} but got: {_listed(shape)}")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _listed(shape: tuple[int | None, ...]) -> str:
    return f"[{','.join('?' if side is None else str(side) for side in shape)}]"


def _short(value: Any) -> str:
    return repr(value)[:100]
