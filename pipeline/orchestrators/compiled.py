"""Pipelines compiled for Vertex AI: the definitions that also run on one machine, as JSON text with a digest.

The text depends on the pipeline's shape, on the image and on the settings that choose nodes; what differs from run to
run is a root parameter. So the same pipeline compiled twice, on any machine, is the same text.
"""

import dataclasses
import hashlib
import json
import os
from typing import Any

from pipeline.config import Config
from pipeline.errors import InvalidSpec
from pipeline.orchestrators import definitions, spec_lint, vertex_node
from pipeline.plan import Shape
from pipeline.progress import logs
from pipeline.storage.base import Storage


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A PipelineJob of schema 2.1 without run-time configuration."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """sha256 of the text, as `sha256sum` prints it for the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def spec(self) -> dict[str, Any]:
        """The pipelineSpec as JSON."""
        return json.loads(self.text)["pipelineSpec"]

    @property
    def parameters(self) -> list[str]:
        """Names of the root parameters: each run has to give all of them."""
        return sorted(self.spec["root"].get("inputDefinitions", {}).get("parameters", {}))

    def keep(self, storage: Storage) -> str:
        """Writes the text to the workspace under its digest, and returns its address."""
        name = f"pipelines/{self.name}/{self.digest}.json"
        storage.write(name, self.text.encode(), create_only=True)
        return storage.address(name)


def compile_pipeline(config: Config, name: str, shape: Shape) -> Compiled:
    """Compiles the pipeline `name`; calls no service; its imports take ten seconds, but for the AutoML pipeline.

    Its settings alone decide the shape of that one. Raises MissingSettings or InvalidSpec.
    """
    config.require("image")
    with logs.into_file(os.devnull):  # TFX and TensorFlow print a lot during their import
        if name == definitions.AUTOML:
            spec = _compile_automl(config)
        else:
            spec = _compile(config, name, dataclasses.replace(shape, on_vertex=True))
    job = {"displayName": name, "pipelineSpec": spec, "runtimeConfig": {}}
    mistakes = spec_lint.lint(job["pipelineSpec"], [config.github_token])
    if mistakes:
        raise InvalidSpec(name, mistakes)
    return Compiled(name, canonical(job))


def canonical(job: dict[str, Any]) -> str:
    """Returns the JSON text of a job: equal jobs have the same text."""
    return f"{json.dumps(job, indent=1, sort_keys=True)}\n"


def _compile(config: Config, name: str, shape: Shape) -> dict[str, Any]:
    definition = definitions.load(name)  # first: it imports TFX in less time than the runner would
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

    root = "set by each run"  # TFX requires a pipeline root, but only a run has one
    pipeline = definition.create_pipeline(config, shape, _runtime_parameters(definition.Parameters), root)
    made = runner.KubeflowV2DagRunner(
        runner.KubeflowV2DagRunnerConfig(
            default_image=config.image, default_commands=list(vertex_node.COMMAND), use_pipeline_spec_2_1=True
        )
    ).run(pipeline, write_out=False)
    return made["pipelineSpec"]


def _compile_automl(config: Config) -> dict[str, Any]:
    from google.protobuf import json_format

    return json_format.MessageToDict(definitions.load_automl().create_pipeline(config).pipeline_spec)


def _runtime_parameters(kind: type) -> Any:
    """Returns a definition's Parameters in which each field is the root parameter of its name."""
    from pipeline.components.tfx_api import RuntimeParameter

    names = (field.name for field in dataclasses.fields(kind))
    return kind(**{name: RuntimeParameter(name=name, ptype=str) for name in names})
