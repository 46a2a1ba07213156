"""Service Usage: the project's enabled APIs."""

import urllib.parse
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


class ServiceUsage(Service):
    """All APIs are enabled except those in `disabled`."""

    name = "serviceusage"
    hosts = ("serviceusage.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.disabled: set[str] = set()

    def reset(self) -> None:
        self.disabled.clear()

    def routes(self):
        return [Route("GET", "/v1/projects/{project}/services:batchGet", "BatchGetServices", self.batch_get)]

    def batch_get(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        own = f"projects/{self._cloud.project}"
        if project != self._cloud.project:
            raise Refused(StatusCode.PERMISSION_DENIED, f"Permission denied to get service [projects/{project}]")
        self._cloud.policies.demand(caller.principal, own, "serviceusage.services.get")
        parameters = urllib.parse.parse_qs(request.query, strict_parsing=True)
        names = parameters.pop("names", [])
        if parameters or not 1 <= len(names) <= 30 or not all(name.startswith(f"{own}/services/") for name in names):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid names: {names} {parameters}")
        return {"services": [self._service(name) for name in names]}

    def _service(self, name: str) -> dict[str, str]:
        number = f"projects/{self._cloud.project_number}"
        api = name.rpartition("/")[2]
        state = "DISABLED" if api in self.disabled else "ENABLED"
        return {"name": f"{number}/services/{api}", "parent": number, "state": state}
