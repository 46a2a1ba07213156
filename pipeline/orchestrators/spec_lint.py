"""Checks of compiled pipelines: mistakes that compile, and that Vertex AI reports late or never.

Each check yields a sentence for each mistake. A spec is the JSON of a `pipelineSpec`.
"""

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

Spec = Mapping[str, Any]


def lint(spec: Spec, secrets: Sequence[str] = ()) -> list[str]:
    """Returns all mistakes; `secrets` are values that the spec must not hold."""
    found = [mistake for check in CHECKS for mistake in check(spec)]
    return found + list(leaked(strings(spec), secrets))


def schema(spec: Spec) -> Iterator[str]:
    """The schema is 2.1: under another one executors do not see the values that drivers resolved."""
    if spec.get("schemaVersion") != "2.1.0":
        yield f"its schema is {spec.get('schemaVersion')!r}, not 2.1.0"


def wiring(spec: Spec) -> Iterator[str]:
    """Every input comes from a task that exists, from an output that it has, or from a root parameter."""
    tasks = spec["root"]["dag"]["tasks"]
    given = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, task in tasks.items():
        for producer in task.get("dependentTasks", []):
            if producer not in tasks:
                yield f"{name} waits for {producer}, which is not a task"
        inputs = task.get("inputs", {})
        for key, source in inputs.get("artifacts", {}).items():
            output = source.get("taskOutputArtifact", {})
            yield from _no_output(
                spec, name, key, output.get("producerTask"), output.get("outputArtifactKey"), "artifacts"
            )
        for key, source in inputs.get("parameters", {}).items():
            if "taskOutputParameter" in source:
                output = source["taskOutputParameter"]
                producer, produced = output.get("producerTask"), output.get("outputParameterKey")
                yield from _no_output(spec, name, key, producer, produced, "parameters")
            elif source.get("componentInputParameter", "") not in ("", *given):
                yield f"{name} takes {key} from {source['componentInputParameter']}, which is not a root parameter"


def _no_output(spec: Spec, task: str, key: str, producer: str, output: str, kind: str) -> Iterator[str]:
    tasks = spec["root"]["dag"]["tasks"]
    if producer not in tasks:
        yield f"{task} takes {key} from {producer}, which is not a task"
        return
    component = spec["components"][tasks[producer]["componentRef"]["name"]]
    if output not in component.get("outputDefinitions", {}).get(kind, {}):
        yield f"{task} takes {key} from {output} of {producer}, which has no such output"


def frozen(spec: Spec) -> Iterator[str]:
    """No RuntimeParameter lies inside another value: it would compile to a constant that no run can change."""
    for where, text in constants(spec):
        if _PLACEHOLDER.search(text):
            yield f"{where} has a RuntimeParameter or placeholder frozen into a constant"


_PLACEHOLDER = re.compile(r"RuntimeParameter|__tfx_object_type__|__class__|\{\{\$|\{\{channel:|future\(\)")


def arguments(spec: Spec) -> Iterator[str]:
    """Each parameter of a task is one that its component has, of its type; none that it needs is missing."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]].get("inputDefinitions", {})
        for kind in ("parameters", "artifacts"):
            defined, given = component.get(kind, {}), task.get("inputs", {}).get(kind, {})
            for key in sorted(set(given).difference(defined)):
                yield f"{name} is given {key}, which it does not take"
            for key, definition in sorted(defined.items()):
                if key in given:
                    yield from _mistyped(spec, name, key, definition, given[key])
                elif not (definition.get("isOptional") or "defaultValue" in definition):
                    yield f"{name} is not given {key}, which it needs"


def _mistyped(spec: Spec, task: str, key: str, definition: Spec, source: Spec) -> Iterator[str]:
    wanted = definition.get("parameterType")
    if "runtimeValue" in source and wanted in _TYPES:
        constant = source["runtimeValue"].get("constant")
        if not _TYPES[wanted](constant):
            yield f"{task} is given {key} as {constant!r}, which is no {wanted}"
    if root := source.get("componentInputParameter"):
        found = spec["root"].get("inputDefinitions", {}).get("parameters", {}).get(root, {}).get("parameterType")
        if found and wanted and found != wanted:
            yield f"{task} is given {key} by the root parameter {root}, which is a {found} and no {wanted}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto: ParameterType.ParameterTypeEnum
_TYPES = {
    "STRING": lambda value: isinstance(value, str),
    "BOOLEAN": lambda value: isinstance(value, bool),
    "NUMBER_INTEGER": lambda value: _is_number(value) and value == int(value),
    "NUMBER_DOUBLE": _is_number,
    "LIST": lambda value: isinstance(value, list),
    "STRUCT": lambda value: isinstance(value, dict),
}


def executors(spec: Spec) -> Iterator[str]:
    """Each executor is a class that the image has, of TFX or of `pipeline`, and importable; or a program of nodes/.

    Google's components run programs of Google's image.
    """
    for name, container in containers(spec):
        path = _option(container, "--executor_class_path")
        command = container.get("command", [])
        if container.get("image") == _google_components():
            continue
        if path is None and command[2:] and command[2].startswith("pipeline.nodes."):
            if not importlib.util.find_spec(command[2]):
                yield f"{name} runs {command[2]}, which does not exist"
            continue
        if path is None:
            yield f"{name} has no executor class"
            continue
        module, _, kind = path.rpartition(".")
        if "infra_validator" in path:
            yield f"{name} is an InfraValidator, which Vertex AI cannot run"
        elif module.partition(".")[0] not in IN_IMAGE:
            yield f"{name} runs {path}, which is not in the image: it has only {' and '.join(IN_IMAGE)}"
        elif not _importable(module, kind):
            yield f"{name} runs {path}, which does not exist"


IN_IMAGE = ("pipeline", "tfx")


def _importable(module: str, kind: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), kind)
    except ImportError:
        return False


def images(spec: Spec) -> Iterator[str]:
    """Images are named by digest: a tag may be another image tomorrow.

    Google releases the image of its components once for each version, and names it by that.
    """
    for name, container in containers(spec):
        if container.get("image") == _google_components():
            continue
        if not re.search(r"@sha256:[0-9a-f]{64}$", container.get("image", "")):
            yield f"{name} runs the image {container.get('image', '')!r}, which is not named by its digest"


def _google_components() -> str:
    """Returns the image of the version of Google's components that is installed."""
    return f"gcr.io/ml-pipeline/google-cloud-pipeline-components:{metadata.version('google-cloud-pipeline-components')}"


def paths(spec: Spec) -> Iterator[str]:
    """No constant is a path of the machine that compiled."""
    for where, text in constants(spec):
        if match := _PATH.search(text):
            yield f"{where} names the local path {match.group(1)}"


_OF_TASK = re.compile(r"\{\{\$(\.(inputs|outputs)\.[^{}]*)?\}\}")

# at the start of a text, of a JSON string, or after `=`
_PATH = re.compile(r"""(?:^|["'=\s])((?:file:/+|~/|\.{0,2}/)(?:[\w.-]+/?)+)""")


def leaked(texts: Iterable[str], secrets: Sequence[str] = ()) -> Iterator[str]:
    """Yields a sentence for each kind of secret in the texts: known values, tokens, API keys, private keys."""
    whole = "\n".join(texts)
    known = [secret for secret in secrets if secret]
    if any(secret in whole for secret in known):
        yield "it holds the value of a secret setting"
    for kind, pattern in TOKENS.items():
        if pattern.search(whole):
            yield f"it holds what looks like {kind}"


TOKENS = {
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})"),
    "a Google access token": re.compile(r"\bya29\.[\w-]{20,}"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\"private_key\""),
}

CHECKS = (schema, wiring, arguments, frozen, executors, images, paths)


def containers(spec: Spec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (task, container spec) of each task that runs in a container."""
    labels = spec.get("deploymentSpec", {}).get("executors", {})
    for name, task in spec["root"]["dag"]["tasks"].items():
        executor = labels.get(spec["components"][task["componentRef"]["name"]].get("executorLabel", ""), {})
        if "container" in executor:
            yield name, executor["container"]


def constants(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yields (place, text) of every text that is the same in each run: values of parameters, arguments, variables."""
    for name, task in spec["root"]["dag"]["tasks"].items():
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            value = source.get("runtimeValue", {}).get("constant")
            if isinstance(value, str):
                yield f"{key} of {name}", value
    for name, container in containers(spec):
        for text in (*container.get("command", []), *container.get("args", [])):
            # Vertex AI puts the task's inputs and outputs in place of these
            yield f"an argument of {name}", _OF_TASK.sub("", text)
        for variable in container.get("env", []):
            yield f"{variable['name']} of {name}", variable.get("value", "")


def strings(value: Any) -> Iterator[str]:
    """Yields every text in a JSON value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from strings(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from strings(inner)


def _option(container: Mapping[str, Any], name: str) -> str | None:
    arguments = container.get("args", [])
    return arguments[arguments.index(name) + 1] if name in arguments[:-1] else None
