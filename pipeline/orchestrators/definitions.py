"""Pipeline definitions by name, as `--pipeline NAME` gives it.

Orchestrators know definitions by name alone: the retraining pipeline has a node, PipelineTrigger, that starts another
pipeline, so definitions import orchestrators and never the other way round. Importing a definition of TFX takes ten
seconds; the AutoML pipeline is one of KFP.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.config import Config
from pipeline.orchestrators import libraries
from pipeline.plan import Shape

if TYPE_CHECKING:
    from pipeline.components.tfx_api import Pipeline

TRAINING, RETRAINING, AUTOML = "training", "retraining", "automl"
OF_TFX = (TRAINING, RETRAINING)
NAMES = (*OF_TFX, AUTOML)


class Definition(Protocol):
    """What each of the modules `pipeline.NAME` of OF_TFX provides."""

    Parameters: type  # dataclass of what differs from run to run

    def create_pipeline(self, config: Config, shape: Shape, run: Any, pipeline_root: str) -> "Pipeline":
        """Returns the TFX pipeline; `run` are its Parameters."""

    def parameters(self, config: Config, *arguments: Any) -> Any:
        """Returns the Parameters of one run."""


def load(name: str) -> Definition:
    """Imports the definition of the pipeline `name`, one of OF_TFX."""
    if name not in OF_TFX:
        raise ValueError(f"there is no pipeline {name!r} of TFX, only {' and '.join(OF_TFX)}")
    with libraries.imported():
        return importlib.import_module(f"pipeline.{name}")


def load_automl() -> Any:
    """Imports the definition of the AutoML pipeline: its `create_pipeline` takes settings and returns one of KFP."""
    return importlib.import_module(f"pipeline.{AUTOML}")
