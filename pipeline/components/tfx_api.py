"""The parts of TFX that the pipelines use, under one name.

`tfx.v1` offers the same, but also imports the clients of Google's AI Platform: five seconds of CPU. Each node is named
by its own file, so that the others are not imported (see orchestrators/libraries.py).
"""

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.components.tuner.component import Tuner
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import Metadata, sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.example_gen_pb2 import FORMAT_TF_EXAMPLE
from tfx.proto.trainer_pb2 import EvalArgs, TrainArgs
from tfx.proto.tuner_pb2 import TuneArgs
from tfx.types import standard_artifacts as artifacts

__all__ = [
    "BaseExecutor",
    "FORMAT_TF_EXAMPLE",
    "EvalArgs",
    "Evaluator",
    "ExampleValidator",
    "ExecutorClassSpec",
    "ImportSchemaGen",
    "InputArtifact",
    "LocalDagRunner",
    "Metadata",
    "OutputArtifact",
    "Parameter",
    "Pipeline",
    "RuntimeParameter",
    "SchemaGen",
    "StatisticsGen",
    "Text",
    "TrainArgs",
    "Trainer",
    "Transform",
    "TuneArgs",
    "Tuner",
    "artifacts",
    "component",
    "set_properties",
    "sqlite_metadata_connection_config",
]

Text = str | RuntimeParameter  # a node's argument: text, or in a compiled pipeline a parameter of the run


def set_properties(node: BaseComponent, **properties: Text | None) -> None:
    """Sets a node's properties as they are: constructors that write JSON make a constant of a RuntimeParameter."""
    node.spec.exec_properties.update(properties)
