"""Releases to serve, and the state of an endpoint as read by a separate client."""

import dataclasses
import pathlib
from typing import Any

from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.outcomes import Metrics
from pipeline.releases.factory import open_releases
from pipeline.releases.record import Release
from tests.emulators.cloud import Cloud

ROOT = pathlib.Path(__file__).resolve().parents[1]
# An image whose files are this checkout's.
IMAGE = f"europe-west1-docker.pkg.dev/spanloop-local/images/pipelines@sha256:{'2b' * 32}"


class Serving:
    """A workspace in the local servers' bucket, and the endpoint "digits" that serves its models."""

    def __init__(self, cloud: Cloud, workspace: str, model: str):
        self.cloud = cloud
        cloud.vertex.workers.images.add(IMAGE, ROOT)
        self.config = Config(
            workspace=workspace, project=cloud.project, region=cloud.region, endpoint="digits", image=IMAGE
        )
        self._model = model

    def settings(self, **changes: Any) -> Config:
        return dataclasses.replace(self.config, **changes)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of a command."""
        return self.cloud.environment | {
            "WORKSPACE": self.config.workspace,
            "VERTEX_ENDPOINT": self.config.endpoint,
            "PIPELINE_IMAGE": IMAGE,
        }

    def release(self, number: int = 1) -> Release:
        """Publishes the model as a release; each number makes a distinct release."""
        return open_releases(self.config.releases).publish(
            self._model,
            identity=f"{number}",
            commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904-dirty",
            modules_digest="a" * 64,
            spans=(1, 2, 3, 11),
            labels=tuple("0123456789"),
            metrics=Metrics(accuracy=0.9),
            previous=None,
        )

    def endpoints(self) -> list[Any]:
        return list(client(self.config, "EndpointService").list_endpoints({"parent": location(self.config)}))

    @property
    def endpoint(self) -> Any:
        """The only endpoint in the project."""
        (endpoint,) = self.endpoints()
        return endpoint

    @property
    def traffic(self) -> dict[str, int]:
        """Traffic percentage of each deployed model by display name, sorted by name."""
        found = self.endpoint
        shares = {model.display_name: found.traffic_split.get(model.id, 0) for model in found.deployed_models}
        assert len(shares) == len(found.deployed_models), "a model is deployed twice"
        assert sum(found.traffic_split.values()) in (0, 100)
        return dict(sorted(shares.items()))

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.endpoint.labels)

    def versions(self) -> list[Any]:
        """All versions of the only model, oldest first."""
        models = client(self.config, "ModelService")
        (model,) = models.list_models({"parent": location(self.config)})
        found = models.list_model_versions({"name": model.name.partition("@")[0]})
        return sorted(found, key=lambda version: int(version.version_id))

    @property
    def default(self) -> list[str]:
        """Aliases of the default version, without "default" itself."""
        (version,) = (version for version in self.versions() if "default" in version.version_aliases)
        return sorted(set(version.version_aliases) - {"default"})
