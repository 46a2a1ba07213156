"""Artifact Registry: looking up repositories and images."""

from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


class ArtifactRegistry(Service):
    """Repositories by resource name, each with its format and images."""

    name = "artifactregistry"
    hosts = ("artifactregistry.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.repositories: dict[str, tuple[str, set[str]]] = {}

    def reset(self) -> None:
        self.repositories.clear()

    def add(self, repository: str, *images: str, format: str = "DOCKER") -> str:
        """Creates a repository of the project with images (NAME@sha256:...); returns its resource name."""
        name = f"projects/{self._cloud.project}/locations/{self._cloud.region}/repositories/{repository}"
        self.repositories[name] = (format, set(images))
        return name

    def routes(self):
        name = "/v1/projects/{project}/locations/{location}/repositories/{repository}"
        return [
            Route("GET", f"{name}:getIamPolicy", "GetIamPolicy", self.policy),
            Route("GET", name, "GetRepository", self.get),
            Route("GET", f"{name}/dockerImages/{{image}}", "GetDockerImage", self.image),
        ]

    def get(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, (format, _) = self._find(caller, "artifactregistry.repositories.get", **parts)
        return {"name": name, "format": format, "mode": "STANDARD_REPOSITORY"}

    def policy(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, _ = self._find(caller, "artifactregistry.repositories.getIamPolicy", **parts)
        return self._cloud.policies.policy(name)

    def image(self, request: Request, caller: Caller, image: str, **parts: str) -> dict[str, Any]:
        name, (_, images) = self._find(caller, "artifactregistry.dockerimages.get", **parts)
        if image not in images:
            raise Refused(StatusCode.NOT_FOUND, f'Image "{name}/dockerImages/{image}" not found.')
        place = f"{parts['location']}-docker.pkg.dev/{parts['project']}/{parts['repository']}"
        return {"name": f"{name}/dockerImages/{image}", "uri": f"{place}/{image}"}

    def _find(self, caller: Caller, permission: str, **parts: str) -> tuple[str, tuple[str, set[str]]]:
        name = "projects/{project}/locations/{location}/repositories/{repository}".format(**parts)
        self._cloud.policies.demand(caller.principal, name, permission)
        if name not in self.repositories:
            raise Refused(StatusCode.NOT_FOUND, f"Requested entity was not found: {name}")
        return name, self.repositories[name]
