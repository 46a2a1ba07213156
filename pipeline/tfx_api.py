"""The parts of TFX that the pipelines are made of, under one name.

`tfx.v1` offers the same, but importing it brings the clients of Google's AI Platform along: five seconds of CPU.
"""

from tfx.components import (
    Evaluator,
    ExampleValidator,
    SchemaGen,
    StatisticsGen,
    Trainer,
    Transform,
    Tuner,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.example_gen_pb2 import FORMAT_TF_EXAMPLE
from tfx.proto.trainer_pb2 import EvalArgs, TrainArgs
from tfx.types import standard_artifacts as artifacts

__all__ = [
    "FORMAT_TF_EXAMPLE",
    "EvalArgs",
    "Evaluator",
    "ExampleValidator",
    "ImportSchemaGen",
    "InputArtifact",
    "LocalDagRunner",
    "Metadata",
    "OutputArtifact",
    "Parameter",
    "Pipeline",
    "SchemaGen",
    "StatisticsGen",
    "TrainArgs",
    "Trainer",
    "Transform",
    "Tuner",
    "artifacts",
    "component",
    "sqlite_metadata_connection_config",
]
