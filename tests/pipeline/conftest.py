"""Pipelines compiled for Vertex AI, each once for all tests."""

import functools

import pytest

from pipeline.config import Config
from pipeline.orchestrators.compiled import Compiled, compile_pipeline
from pipeline.plan import Shape
from tests.conftest import IMAGE


@functools.cache
def compiled(name: str, shape: Shape | None = None, **settings: object) -> Compiled:
    """A pipeline as `compile` makes it."""
    return compile_pipeline(Config(image=IMAGE, **settings), name, shape or Shape())


@pytest.fixture
def spec() -> dict:
    """The training pipeline's spec with everything in it, to be damaged."""
    shape = Shape(baseline=True, curated=True, tune=True)
    return compiled("training", shape, endpoint="photographs", parallel_trials=3).spec
