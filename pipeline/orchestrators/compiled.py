"""Pipelines compiled for Vertex AI: the same definitions that run on one machine, as one JSON text with a digest.

The text depends on the pipeline's shape, on the image and on the settings that choose nodes; what differs from run to
run is a root parameter of it. So the same pipeline compiled twice, anywhere, is the same text.
"""

import dataclasses
import hashlib
import json
import os
from typing import Any

from pipeline.config import Config
from pipeline.errors import InvalidSpec
from pipeline.orchestrators import definitions, spec_lint
from pipeline.plan import Shape
from pipeline.progress import logs
from pipeline.storage.base import Storage


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A pipeline as Vertex AI takes it: a PipelineJob of schema 2.1, whose run-time configuration is empty."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """sha256 of the text, which is what `sha256sum` says of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def spec(self) -> dict[str, Any]:
        """The pipelineSpec alone."""
        return json.loads(self.text)["pipelineSpec"]

    @property
    def parameters(self) -> list[str]:
        """Names of the root parameters: each run has to give all of them."""
        return sorted(self.spec["root"].get("inputDefinitions", {}).get("parameters", {}))

    def keep(self, storage: Storage) -> str:
        """Keeps the text by its digest in the workspace, and returns its address."""
        name = f"pipelines/{self.name}/{self.digest}.json"
        storage.write(name, self.text.encode(), create_only=True)
        return storage.address(name)


def compile_pipeline(config: Config, name: str, shape: Shape) -> Compiled:
    """Compiles the pipeline `name`; calls no service; its imports take ten seconds.

    Raises MissingSettings or InvalidSpec.
    """
    config.require("image")
    with logs.into_file(os.devnull):  # TFX and TensorFlow have much to say while they are imported
        job = _compile(config, name, dataclasses.replace(shape, on_vertex=True))
    wrong = spec_lint.lint(job["pipelineSpec"], [config.github_token])
    if wrong:
        raise InvalidSpec(name, wrong)
    return Compiled(name, canonical(job))


def canonical(job: dict[str, Any]) -> str:
    """Returns the one text of what a job says."""
    return f"{json.dumps(job, indent=1, sort_keys=True)}\n"


def _compile(config: Config, name: str, shape: Shape) -> dict[str, Any]:
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

    definition = definitions.load(name)
    root = "set by each run"  # TFX requires a pipeline root, but only a run has one
    pipeline = definition.create_pipeline(config, shape, _runtime_parameters(definition.Parameters), root)
    made = runner.KubeflowV2DagRunner(
        runner.KubeflowV2DagRunnerConfig(default_image=config.image, use_pipeline_spec_2_1=True)
    ).run(pipeline, write_out=False)
    return {"displayName": name, "pipelineSpec": made["pipelineSpec"], "runtimeConfig": {}}


def _runtime_parameters(kind: type) -> Any:
    """Returns a definition's Parameters in which each field is the root parameter of its name."""
    from pipeline.components.tfx_api import RuntimeParameter

    names = (field.name for field in dataclasses.fields(kind))
    return kind(**{name: RuntimeParameter(name=name, ptype=str) for name in names})
