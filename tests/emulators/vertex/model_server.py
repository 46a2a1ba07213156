"""Program of a process that loads SavedModels and predicts with them like Google's serving containers.

stdin: lines of JSON, [model's folder, [instances]]. stdout: for each line a JSON list with {"prediction": ...} or
{"error": text} per instance. It ends at the end of stdin.
"""

import base64
import collections
import json
import os
import sys
from typing import Any, NamedTuple

import tensorflow as tf

KEPT = 4  # models in memory
LARGEST_BATCH = 256  # instances


class Signature(NamedTuple):
    """A callable signature, its inputs by name, and its model, which must stay referenced."""

    call: Any
    inputs: dict[str, tf.TensorSpec]
    model: Any


_models: collections.OrderedDict[str, Signature] = collections.OrderedDict()


def signature(folder: str) -> Signature:
    """The serving signature of a model."""
    if folder not in _models:
        model = tf.saved_model.load(folder)
        if "serving_default" not in model.signatures:
            raise ValueError('Serving signature key "serving_default" not found.')
        call = model.signatures["serving_default"]
        _models[folder] = Signature(call, call.structured_input_signature[1], model)
        if len(_models) > KEPT:
            _models.popitem(last=False)
    _models.move_to_end(folder)
    return _models[folder]


def answers(folder: str, instances: list[Any]) -> list[dict[str, Any]]:
    """Predicts all instances in one batch; if that fails, one by one, to find the invalid ones."""
    try:
        return [{"prediction": row} for row in predictions(signature(folder), instances)]
    except Exception as error:
        if len(instances) == 1:
            return [{"error": f"{error}".strip()[:1000] or type(error).__name__}]
        return [answer for instance in instances for answer in answers(folder, [instance])]


def predictions(model: Signature, instances: list[Any]) -> list[Any]:
    """Predicts instances in row format: https://www.tensorflow.org/tfx/serving/api_rest#specifying_input_tensors_in_row_format."""
    columns: dict[str, list[Any]] = {name: [] for name in model.inputs}
    for instance in instances:
        fields = instance if _is_named(instance) else {_only_input(model): instance}
        if set(fields) != set(model.inputs):
            raise ValueError(f"Failed to process element: it has {sorted(fields)}, the model {sorted(model.inputs)}.")
        for name, value in fields.items():
            columns[name].append(_decoded(value))
    found = model.call(**{name: tf.constant(column, model.inputs[name].dtype) for name, column in columns.items()})
    rows = {name: [_encoded(name, row) for row in output.numpy().tolist()] for name, output in found.items()}
    if len(rows) == 1:  # the format omits the name of a single output
        return next(iter(rows.values()))
    return [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and set(instance) != {"b64"}


def _only_input(model: Signature) -> str:
    if len(model.inputs) > 1:
        raise ValueError(f"Failed to process element: the model takes an object of {sorted(model.inputs)}.")
    return next(iter(model.inputs))


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    return value


def _encoded(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(name, each) for each in value]
    if not isinstance(value, bytes):
        return value
    return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode()


def main() -> None:
    answers_file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps TensorFlow's output apart from the answers
    for line in sys.stdin.buffer:
        folder, instances = json.loads(line)
        parts = (instances[start : start + LARGEST_BATCH] for start in range(0, len(instances), LARGEST_BATCH))
        print(json.dumps([answer for part in parts for answer in answers(folder, part)]), file=answers_file, flush=True)


if __name__ == "__main__":
    main()
