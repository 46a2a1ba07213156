"""`cloud.vertex`: Vertex AI, composed of parts.

A part may have `rpcs()`, `reset()` and `close()`.
"""

import functools
from typing import TYPE_CHECKING

from tests.emulators.services import Call, Request, Rpc, Service
from tests.emulators.vertex.automl import AutoML
from tests.emulators.vertex.batch import BatchPredictions
from tests.emulators.vertex.custom_jobs import CustomJobs
from tests.emulators.vertex.datasets import Datasets
from tests.emulators.vertex.endpoints import Endpoints
from tests.emulators.vertex.machines import Machines
from tests.emulators.vertex.models import Models
from tests.emulators.vertex.names import Names
from tests.emulators.vertex.operations import Operations
from tests.emulators.vertex.pipelines import Pipelines
from tests.emulators.vertex.predictions import Predictions
from tests.emulators.vertex.processes import Containers
from tests.emulators.vertex.rest import Rest
from tests.emulators.vertex.serving import Serving
from tests.emulators.vertex.training import TrainingPipelines
from tests.emulators.vertex.workers import Workers

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


class Vertex(Service):
    """Each part is an attribute, with which tests read state and hold jobs: `models`, `endpoints`, `pipelines` ..."""

    name = "aiplatform"
    hosts = ("*-aiplatform.googleapis.com", "aiplatform.googleapis.com")

    def __init__(self, cloud: "Cloud"):
        self.names = Names(cloud)
        self.machines = Machines()
        self.workers = Workers(cloud)
        self.serving = Serving(cloud, self.workers)
        self.operations = Operations(self.names)
        self.automl = AutoML(self.workers)
        self.models = Models(cloud, self.names, self.operations, self.automl)
        self.datasets = Datasets(cloud, self.names, self.operations)
        self.training = TrainingPipelines(self.names, self.operations, self.datasets, self.models, self.automl)
        self.endpoints = Endpoints(self.names, self.operations, self.models, self.machines)
        self.predictions = Predictions(self.endpoints, self.models, self.automl, self.serving)
        self.batches = BatchPredictions(
            cloud, self.names, self.operations, self.models, self.machines, self.automl, self.serving
        )
        self.custom_jobs = CustomJobs(self.names, self.operations, self.machines, self.workers)
        self.pipelines = Pipelines(cloud, self.names, self.operations, self.workers)
        # In the order of resets; closed in reverse.
        self._parts = [
            self.machines,
            self.serving,
            self.operations,
            self.training,
            self.datasets,
            self.automl,
            self.models,
            self.endpoints,
            self.predictions,
            self.batches,
            self.pipelines,
            self.custom_jobs,
            self.workers,
        ]

    @property
    def quota(self) -> dict[str, int]:
        """Limits of accelerators and machine types in use."""
        return self.machines.quota

    @property
    def containers(self) -> Containers:
        """The way to run containers, see processes.py."""
        return self.workers.containers

    @containers.setter
    def containers(self, way: Containers) -> None:
        self.workers.containers = way

    @functools.cached_property
    def _rest(self) -> Rest:
        return Rest(self.rpcs())

    def rpcs(self) -> dict[str, Rpc]:
        found: dict[str, Rpc] = {}
        for part in self._parts:
            found |= part.rpcs() if hasattr(part, "rpcs") else {}
        return found

    def route(self, request: Request) -> Call | None:
        return self._rest.call(request)

    def reset(self) -> None:
        for part in self._parts:
            if hasattr(part, "reset"):
                part.reset()

    def close(self) -> None:
        for part in reversed(self._parts):
            if hasattr(part, "close"):
                part.close()
