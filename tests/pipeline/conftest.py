"""Pipelines compiled for Vertex AI, and what they need in a workspace in a bucket."""

import functools
import json
import sys
from collections.abc import Mapping
from importlib import metadata

import pytest

from pipeline.compiled import Compiled, compile_pipeline
from pipeline.config import Config
from pipeline.data import spans
from pipeline.data.storage import Storage, open_storage
from pipeline.plan import Shape
from tests.conftest import photographs

IMAGE = f"europe-west4-docker.pkg.dev/spanloop-local/images/pipelines@sha256:{'1a' * 32}"


@functools.cache
def compiled(name: str, shape: Shape | None = None, **settings: object) -> Compiled:
    """A pipeline as `compile` makes it."""
    return compile_pipeline(Config(image=IMAGE, **settings), name, shape or Shape())


@pytest.fixture
def spec() -> dict:
    """The training pipeline's spec with everything in it, to be damaged."""
    shape = Shape(baseline=True, curated=True, tune=True)
    return compiled("training", shape, endpoint="photographs", parallel_trials=3).spec


def know_image(storage: Storage, image: str, **differing: str) -> None:
    """Writes what `build-image` leaves of an image that was built here."""
    here = {"tfx": metadata.version("tfx"), "python": ".".join(map(str, sys.version_info[:2]))}
    record = {"image": image, "commit": "c0ffee", "content": "0", **here, **differing}
    storage.write(f"images/{image.rpartition(':')[2]}.json", json.dumps(record).encode())


def collect(storage: Storage, files: Mapping[str, bytes]) -> None:
    """Writes images to collected/."""
    for name, data in files.items():
        storage.write(f"collected/{name}", data)


@pytest.fixture
def cloud_config(cloud_environment, gs_workspace) -> Config:
    """Settings for the local servers; the image is known to the workspace."""
    know_image(open_storage(gs_workspace), IMAGE)
    cloud = cloud_environment
    return Config(
        workspace=gs_workspace,
        project=cloud.project,
        region=cloud.region,
        image=IMAGE,
        service_account=cloud.account,
    )


@pytest.fixture
def span_in_bucket(cloud_config) -> None:
    """Span 1 of the workspace in the bucket: a few cats and dogs."""
    storage = open_storage(cloud_config.workspace)
    collect(storage, photographs(range(30)))
    spans.prepare(storage)
