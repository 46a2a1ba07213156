"""Secret Manager: versions of secrets, with access control."""

import re
from typing import TYPE_CHECKING, Any

import google_crc32c
from google.cloud import secretmanager_v1 as types
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Rpc, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

_NAME = re.compile(r"(projects/([^/]+)/secrets/([\w-]+))/versions/(latest|[1-9]\d*)")


class SecretManager(Service):
    """Secrets by resource name."""

    name = "secretmanager"
    hosts = ("secretmanager.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._versions: dict[str, list[bytes]] = {}
        self.corrupt = False  # True: sends data that do not match their checksum

    def reset(self) -> None:
        self._versions.clear()
        self.corrupt = False

    def add(self, secret: str, data: bytes) -> str:
        """Adds a version to projects/PROJECT/secrets/NAME, creating it if necessary; returns the version's name."""
        versions = self._versions.setdefault(secret, [])
        versions.append(data)
        return f"{secret}/versions/{len(versions)}"

    def names(self) -> list[str]:
        """The names of all secrets."""
        return list(self._versions)

    def remove(self, secret: str) -> None:
        """Deletes a secret with all its versions."""
        del self._versions[secret]

    def rpcs(self):
        access = Rpc(types.AccessSecretVersionRequest, types.AccessSecretVersionResponse, self.access)
        return {"/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion": access}

    def routes(self):
        return [Route("GET", "/v1/projects/{project}/secrets/{secret}:getIamPolicy", "GetIamPolicy", self.policy)]

    def policy(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = f"projects/{project}/secrets/{secret}"
        self._cloud.policies.demand(caller.principal, name, "secretmanager.secrets.getIamPolicy")
        return self._cloud.policies.policy(name)

    def access(self, request: types.AccessSecretVersionRequest, caller: Caller) -> types.AccessSecretVersionResponse:
        match = _NAME.fullmatch(request.name)
        if not match:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid resource field value in the request: {request.name}")
        secret, project, _, wanted = match.groups()
        self._cloud.policies.demand(caller.principal, secret, "secretmanager.versions.access")
        versions = self._versions.get(secret, [])
        number = len(versions) if wanted == "latest" else int(wanted)
        if project not in (self._cloud.project, self._cloud.project_number) or not 1 <= number <= len(versions):
            raise Refused(StatusCode.NOT_FOUND, f"Secret Version [{request.name}] not found.")
        data = versions[number - 1]
        payload = types.SecretPayload(data=data + b"?" * self.corrupt, data_crc32c=google_crc32c.value(data))
        name = f"projects/{self._cloud.project_number}/secrets/{match[3]}/versions/{number}"
        return types.AccessSecretVersionResponse(name=name, payload=payload)
