"""Validation of a PipelineJob: its spec against the spec's own message types, and rules beyond types."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as proto

from tests.emulators.vertex.components import IMAGE as COMPONENTS
from tests.emulators.vertex.names import invalid

BY_DIGEST = re.compile(r"[a-z0-9.-]+(:\d+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")
# JSON types of parameter types.
TYPES: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def check(spec: dict[str, Any], parameters: Mapping[str, Any], old_parameters: bool) -> None:
    """Raises Refused for specs that Vertex AI refuses, or that would fail later.

    `old_parameters` is True when the job has parameters in the format of schema 2.0. Stricter than Vertex AI: images
    must be named by digest, except the one of Google's components.
    """
    try:
        json_format.ParseDict(spec, proto.PipelineSpec())
        json_format.ParseDict(spec.get("deploymentSpec", {}), proto.PipelineDeploymentConfig())
    except json_format.ParseError as error:
        raise invalid(f"Invalid pipeline_spec: {error}") from None
    version = spec.get("schemaVersion")
    if version not in ("2.0.0", "2.1.0"):
        raise invalid(f"Invalid pipeline_spec: schema_version {version!r} is neither 2.0.0 nor 2.1.0.")
    if version == "2.1.0" and old_parameters:
        raise invalid("runtime_config.parameters is of schema 2.0.0: use parameter_values with 2.1.0.")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,127}", spec.get("pipelineInfo", {}).get("name", "")):
        raise invalid("Invalid pipeline_spec: pipeline_info.name is not [a-z][a-z0-9-]{0,127}.")
    if not spec.get("sdkVersion"):
        raise invalid("Invalid pipeline_spec: sdk_version is required.")
    _check_parameters(spec["root"].get("inputDefinitions", {}).get("parameters", {}), parameters)
    for label, executor in spec.get("deploymentSpec", {}).get("executors", {}).items():
        image = executor.get("container", {}).get("image")
        if "container" in executor and image != COMPONENTS and not BY_DIGEST.fullmatch(image or ""):
            raise invalid(f"Executor {label}: the image {image!r} is not named by its digest.")
    for component in (spec["root"], *spec.get("components", {}).values()):
        if "dag" in component:
            _Dag(spec, component).check()


def _check_parameters(defined: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in defined:
            raise invalid(f"The pipeline parameter {name} is not found in the pipeline job input definitions.")
        wanted = defined[name].get("parameterType")
        if wanted and not isinstance(value, TYPES[wanted]):
            raise invalid(f"The pipeline parameter {name} is {value!r}, which is not {wanted}.")
    unset = [
        name
        for name, definition in defined.items()
        if name not in given and "defaultValue" not in definition and not definition.get("isOptional")
    ]
    if unset:
        raise invalid(f"The pipeline parameters {sorted(unset)} are required and have no value.")


def dependencies(task: Mapping[str, Any]) -> set[str]:
    """The tasks that must end before a task may start."""
    found = set(task.get("dependentTasks", []))
    for source in task.get("inputs", {}).get("artifacts", {}).values():
        if "taskOutputArtifact" in source:
            found.add(source["taskOutputArtifact"]["producerTask"])
    for source in task.get("inputs", {}).get("parameters", {}).values():
        for kind in ("taskOutputParameter", "taskFinalStatus"):
            if kind in source:
                found.add(source[kind]["producerTask"])
    return found


class _Dag:
    """The tasks of a component and the sources of their inputs."""

    def __init__(self, spec: dict[str, Any], component: dict[str, Any]):
        self._components = spec.get("components", {})
        self._executors = spec.get("deploymentSpec", {}).get("executors", {})
        self._inputs = component.get("inputDefinitions", {})
        self._tasks = component["dag"].get("tasks", {})

    def check(self) -> None:
        """Raises Refused for an invalid DAG."""
        if not self._tasks:
            raise invalid("Invalid pipeline_spec: a dag has no tasks.")
        waiting = {}
        for name, task in self._tasks.items():
            component = self._component(name, task)
            self._check_inputs(name, task, component.get("inputDefinitions", {}))
            waiting[name] = dependencies(task)
            if unknown := waiting[name] - set(self._tasks):
                raise invalid(f"Task {name} depends on {sorted(unknown)}, which are no tasks of its dag.")
        while waiting:
            ready = [name for name, needed in waiting.items() if not needed & set(waiting)]
            if not ready:
                raise invalid(f"The tasks {sorted(waiting)} wait for each other.")
            for name in ready:
                del waiting[name]

    def _component(self, name: str, task: Mapping[str, Any]) -> dict[str, Any]:
        reference = task.get("componentRef", {}).get("name")
        if reference not in self._components:
            raise invalid(f"Task {name} refers to the component {reference!r}, which is not defined.")
        component = self._components[reference]
        if "dag" not in component and component.get("executorLabel") not in self._executors:
            raise invalid(f"Component {reference} has no executor {component.get('executorLabel')!r}.")
        return component

    def _check_inputs(self, name: str, task: Mapping[str, Any], defined: Mapping[str, Any]) -> None:
        given = task.get("inputs", {})
        for kind in ("parameters", "artifacts"):
            known = defined.get(kind, {})
            if unknown := set(given.get(kind, {})) - set(known):
                raise invalid(f"Task {name} is given {kind} {sorted(unknown)} that its component does not have.")
            for key, problem in self._problems(given.get(kind, {})):
                raise invalid(f"Task {name}: the input {key} {problem}.")
            unset = {
                key
                for key, definition in known.items()
                if key not in given.get(kind, {})
                and "defaultValue" not in definition
                and not definition.get("isOptional")
            }
            if unset:
                raise invalid(f"Task {name} is not given the {kind} {sorted(unset)}.")

    def _problems(self, sources: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key, source in sources.items():
            if "taskOutputArtifact" in source:
                yield from self._output(key, source["taskOutputArtifact"], "artifacts", "outputArtifactKey")
            elif "taskOutputParameter" in source:
                yield from self._output(key, source["taskOutputParameter"], "parameters", "outputParameterKey")
            elif "componentInputParameter" in source or "componentInputArtifact" in source:
                wanted = source.get("componentInputParameter") or source.get("componentInputArtifact")
                if wanted not in {**self._inputs.get("parameters", {}), **self._inputs.get("artifacts", {})}:
                    yield key, f"comes from {wanted!r}, which is not an input of the component"

    def _output(self, key: str, source: Mapping[str, Any], kind: str, field: str) -> Iterator[tuple[str, str]]:
        producer = source["producerTask"]
        if producer not in self._tasks:
            yield key, f"comes from the task {producer!r}, which does not exist"
        else:
            component = self._component(producer, self._tasks[producer])
            if source[field] not in component.get("outputDefinitions", {}).get(kind, {}):
                yield key, f"comes from {producer}, which has no output {source[field]!r}"
