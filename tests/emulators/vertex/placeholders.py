"""Placeholders in command lines, and conditions, evaluated when a task starts.

https://www.kubeflow.org/docs/components/pipelines/user-guides/components/container-components/
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.emulators.vertex.names import invalid

Input = dict[str, Any]  # ExecutorInput as JSON


def command_line(parts: Sequence[str], executor_input: Input, read: Callable[[str], bytes]) -> list[str]:
    """A command line with its placeholders replaced; {"IfPresent": ...} may add several arguments or none."""
    return [argument for part in parts for argument in _arguments(_structure(part), executor_input, read)]


def _structure(part: str) -> Any:
    """The structure of a part that is a Concat or an IfPresent, which kfp writes as JSON; any other part as it is."""
    if not part.startswith(('{"Concat"', '{"IfPresent"')):
        return part
    return json.loads(part)


def _arguments(part: Any, executor_input: Input, read: Callable[[str], bytes]) -> list[str]:
    if isinstance(part, str):
        return [filled(part, executor_input, read)]
    if isinstance(part, list):
        return [argument for each in part for argument in _arguments(each, executor_input, read)]
    if "Concat" in part:
        return ["".join(_arguments(part["Concat"], executor_input, read))]
    condition, inputs = part["IfPresent"], executor_input["inputs"]
    is_present = condition["InputName"] in {**inputs["parameterValues"], **inputs["artifacts"]}
    return _arguments(condition["Then"] if is_present else condition.get("Else", []), executor_input, read)


def filled(text: str, executor_input: Input, read: Callable[[str], bytes]) -> str:
    """Replaces {{$...}} in a part of a command line; `read` returns the bytes at an address."""

    def one(match: re.Match[str]) -> str:
        expression = match[1]
        if expression == "$":
            return json.dumps(executor_input)
        found = re.fullmatch(r"\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\](.*)", expression)
        if not found:
            raise invalid(f"Invalid placeholder: {match[0]}")
        side, kind, key, rest = found.groups()
        if kind == "parameters":
            if side == "outputs":
                return executor_input["outputs"]["parameters"][key]["outputFile"]
            value = executor_input["inputs"]["parameterValues"][key]
            return value if isinstance(value, str) else json.dumps(value)
        artifact = executor_input[side]["artifacts"][key]["artifacts"][0]
        if rest == ".uri":
            return artifact["uri"]
        if rest == ".value":
            return read(artifact["uri"]).decode()
        if metadata := re.fullmatch(r"\.metadata\['([^']+)'\]", rest):
            return str(artifact["metadata"][metadata[1]])
        raise invalid(f"Invalid placeholder: {match[0]}")

    return re.sub(r"\{\{(.+?)\}\}", one, text)


def is_true(condition: str, executor_input: Input) -> bool:
    """Evaluates a CEL condition on a task's inputs."""

    class Fields(dict):
        __getattr__ = dict.__getitem__

    def fields(value: Any) -> Any:
        if isinstance(value, dict):
            return Fields({key: fields(each) for key, each in value.items()})
        return [fields(each) for each in value] if isinstance(value, list) else value

    python = re.sub(r"!(?!=)", " not ", condition.replace("&&", " and ").replace("||", " or "))
    known = {"inputs": fields(executor_input["inputs"]), "int": int, "double": float, "string": str}
    return bool(eval(python, {"__builtins__": {}}, known | {"true": True, "false": False}))
