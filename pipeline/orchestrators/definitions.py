"""The pipelines by name: `training` is defined in pipeline/training.py.

A definition imports TFX, which takes ten seconds, and is imported only when it is needed. Orchestrators know
definitions by name alone, as `--pipeline NAME` does, because the retraining pipeline contains a node that starts
another pipeline: definitions import orchestrators, never the other way round.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipeline.components.tfx_api import Pipeline

TRAINING, RETRAINING = "training", "retraining"
NAMES = (TRAINING, RETRAINING)


class Definition(Protocol):
    """What the module `pipeline.<name>` brings."""

    def create_pipeline(self, *arguments: Any) -> "Pipeline":
        """Returns the TFX pipeline."""

    def values(self, *arguments: Any) -> dict[str, str]:
        """Returns a value for each root parameter of the pipeline."""


def load(name: str) -> Definition:
    """Imports the definition of the pipeline `name`."""
    return importlib.import_module(f"pipeline.{name}")
