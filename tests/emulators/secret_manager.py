"""Secret Manager: versions of secrets, with access control."""

import base64
import re
from typing import TYPE_CHECKING, Any

import google_crc32c
from google.cloud import secretmanager_v1 as types
from grpc import StatusCode

from tests.emulators.policies import requested_version
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
        name = "/v1/projects/{project}/secrets/{secret}"
        return [
            Route("GET", f"{name}:getIamPolicy", "GetIamPolicy", self.policy),
            Route("POST", f"{name}:setIamPolicy", "SetIamPolicy", self.set_policy),
            Route("POST", "/v1/projects/{project}/secrets", "CreateSecret", self.create),
            Route("POST", f"{name}:addVersion", "AddSecretVersion", self.add_version),
            Route("GET", f"{name}/versions/latest:access", "AccessSecretVersion", self.access_latest),
            Route("GET", f"{name}/versions", "ListSecretVersions", self.list_versions),
            Route("GET", name, "GetSecret", self.get),
        ]

    def create(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        """https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create"""
        self._cloud.policies.demand(caller.principal, f"projects/{project}", "secretmanager.secrets.create")
        short, body = request.parameters().get("secretId", ""), request.json()
        name = f"projects/{project}/secrets/{short}"
        if not re.fullmatch(r"[\w-]{1,255}", short, re.ASCII) or "replication" not in body:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"secretId and replication are required: {short!r} {body}")
        if name in self._versions:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        self._versions[name] = []
        return self._described(name)

    def get(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        return self._described(self._find(caller, project, secret, "secretmanager.secrets.get"))

    def add_version(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = self._find(caller, project, secret, "secretmanager.versions.add")
        return {"name": self.add(name, base64.b64decode(request.json()["payload"]["data"])), "state": "ENABLED"}

    def list_versions(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = self._find(caller, project, secret, "secretmanager.versions.list")
        numbers = range(len(self._versions[name]), 0, -1)
        listed = [{"name": f"{name}/versions/{number}", "state": "ENABLED"} for number in numbers]
        return {"versions": listed, "totalSize": len(listed)} if listed else {}

    def access_latest(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = f"projects/{project}/secrets/{secret}/versions/latest"
        found = self.access(types.AccessSecretVersionRequest(name=name), caller)
        return {"name": found.name, "payload": {"data": base64.b64encode(found.payload.data).decode()}}

    def set_policy(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = self._find(caller, project, secret, "secretmanager.secrets.setIamPolicy")
        return self._cloud.policies.replace(name, request.json().get("policy"))

    def _find(self, caller: Caller, project: str, secret: str, permission: str) -> str:
        name = f"projects/{project}/secrets/{secret}"
        self._cloud.policies.demand(caller.principal, name, permission)
        if name not in self._versions:
            raise Refused(StatusCode.NOT_FOUND, f"Secret [{name}] not found.")
        return name

    def _described(self, name: str) -> dict[str, Any]:
        numbered = name.replace(self._cloud.project, self._cloud.project_number, 1)
        return {"name": numbered, "replication": {"automatic": {}}}

    def policy(self, request: Request, caller: Caller, project: str, secret: str) -> dict[str, Any]:
        name = self._find(caller, project, secret, "secretmanager.secrets.getIamPolicy")
        return self._cloud.policies.policy(name, requested_version(request))

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
