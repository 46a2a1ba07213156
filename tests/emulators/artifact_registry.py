"""Artifact Registry: repositories and images.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories
"""

import re
import time
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.gcs.objects import timestamp
from tests.emulators.policies import requested_version
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
        self.uploaded: dict[str, float] = {}  # {image: seconds since the epoch}, now unless a test says otherwise

    def add(self, repository: str, *images: str, format: str = "DOCKER") -> str:
        """Creates a repository of the project with images (NAME@sha256:...); returns its resource name."""
        name = f"projects/{self._cloud.project}/locations/{self._cloud.region}/repositories/{repository}"
        self.repositories[name] = (format, set(images))
        return name

    def routes(self):
        place = "/v1/projects/{project}/locations/{location}"
        name = f"{place}/repositories/{{repository}}"
        return [
            Route("POST", f"{place}/repositories", "CreateRepository", self.create),
            Route("GET", f"{place}/operations/{{operation}}", "GetOperation", self.operation),
            Route("POST", f"{name}:setIamPolicy", "SetIamPolicy", self.set_policy),
            Route("GET", f"{name}:getIamPolicy", "GetIamPolicy", self.policy),
            Route("GET", name, "GetRepository", self.get),
            Route("GET", f"{name}/dockerImages", "ListDockerImages", self.list_images),
            Route("GET", f"{name}/dockerImages/{{image}}", "GetDockerImage", self.image),
            Route("DELETE", f"{name}/packages/{{package}}/versions/{{version}}", "DeleteVersion", self.delete_version),
        ]

    def get(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, (format, _) = self._find(caller, "artifactregistry.repositories.get", **parts)
        return {"name": name, "format": format, "mode": "STANDARD_REPOSITORY"}

    def policy(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, _ = self._find(caller, "artifactregistry.repositories.getIamPolicy", **parts)
        return self._cloud.policies.policy(name, requested_version(request))

    def set_policy(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, _ = self._find(caller, "artifactregistry.repositories.setIamPolicy", **parts)
        return self._cloud.policies.replace(name, request.json().get("policy"))

    def create(self, request: Request, caller: Caller, project: str, location: str) -> dict[str, Any]:
        """Begins to create a repository; it exists when the operation is read."""
        self._cloud.policies.demand(caller.principal, f"projects/{project}", "artifactregistry.repositories.create")
        short, body = request.parameters().get("repositoryId", ""), request.json()
        name = f"projects/{project}/locations/{location}/repositories/{short}"
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", short) or not body.get("format"):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"repositoryId and format are required: {short!r} {body}")
        if name in self.repositories:
            raise Refused(StatusCode.ALREADY_EXISTS, "the repository already exists")
        self.repositories[name] = (body["format"], set())
        return {"name": f"projects/{project}/locations/{location}/operations/{short}"}

    def operation(self, request: Request, caller: Caller, project: str, location: str, operation: str) -> dict:
        return {"name": f"projects/{project}/locations/{location}/operations/{operation}", "done": True}

    def image(self, request: Request, caller: Caller, image: str, **parts: str) -> dict[str, Any]:
        name, (_, images) = self._find(caller, "artifactregistry.dockerimages.get", **parts)
        if image not in images:
            raise Refused(StatusCode.NOT_FOUND, f'Image "{name}/dockerImages/{image}" not found.')
        place = f"{parts['location']}-docker.pkg.dev/{parts['project']}/{parts['repository']}"
        return {"name": f"{name}/dockerImages/{image}", "uri": f"{place}/{image}"}

    def list_images(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        """https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.dockerImages"""
        name, (_, images) = self._find(caller, "artifactregistry.dockerimages.list", **parts)
        parameters = request.parameters()
        first, size = int(parameters.get("pageToken", "0")), int(parameters.get("pageSize", "100"))
        place = f"{parts['location']}-docker.pkg.dev/{parts['project']}/{parts['repository']}"
        listed = [
            {
                "name": f"{name}/dockerImages/{image}",
                "uri": f"{place}/{image}",
                "tags": ["latest"],
                "imageSizeBytes": "1000",
                "uploadTime": timestamp(self.uploaded.setdefault(image, time.time())),
            }
            for image in sorted(images)
        ]
        more = {"nextPageToken": str(first + size)} if first + size < len(listed) else {}
        return {"dockerImages": listed[first : first + size], **more}

    def delete_version(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        """Deletes an image. Each has a tag here, so it takes `force`.

        https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.packages.versions/delete
        """
        package, version = parts.pop("package"), parts.pop("version")
        name, (_, images) = self._find(caller, "artifactregistry.versions.delete", **parts)
        if f"{package}@{version}" not in images:
            raise Refused(StatusCode.NOT_FOUND, f"Requested entity was not found: {package}@{version}")
        if request.parameters().get("force") != "true":
            raise Refused(StatusCode.FAILED_PRECONDITION, "The version is tagged: delete its tags, or use force.")
        images.remove(f"{package}@{version}")
        place = f"projects/{parts['project']}/locations/{parts['location']}"
        return {"name": f"{place}/operations/{version.partition(':')[2]}"}

    def _find(self, caller: Caller, permission: str, **parts: str) -> tuple[str, tuple[str, set[str]]]:
        name = "projects/{project}/locations/{location}/repositories/{repository}".format(**parts)
        self._cloud.policies.demand(caller.principal, name, permission)
        if name not in self.repositories:
            raise Refused(StatusCode.NOT_FOUND, f"Requested entity was not found: {name}")
        return name, self.repositories[name]
