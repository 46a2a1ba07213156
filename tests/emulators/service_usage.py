"""Service Usage: the project's enabled APIs.

https://cloud.google.com/service-usage/docs/reference/rest/v1/services
"""

import urllib.parse
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

MOST_ENABLED, MOST_READ = 20, 30  # APIs in one call


class ServiceUsage(Service):
    """All APIs are enabled except those in `disabled`, whose services refuse every call."""

    name = "serviceusage"
    hosts = ("serviceusage.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.disabled: set[str] = set()

    def reset(self) -> None:
        self.disabled.clear()

    def routes(self):
        services = "/v1/projects/{project}/services"
        return [
            Route("GET", f"{services}:batchGet", "BatchGetServices", self.batch_get),
            Route("POST", f"{services}:batchEnable", "BatchEnableServices", self.batch_enable),
            Route("GET", f"{services}/{{api}}", "GetService", self.get),
            Route("GET", "/v1/operations/{operation}", "GetOperation", self.operation),
        ]

    def get(self, request: Request, caller: Caller, project: str, api: str) -> dict[str, Any]:
        self._check(caller, project, "serviceusage.services.get")
        return self._service(api)

    def batch_get(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        own = f"projects/{self._cloud.project}"
        self._check(caller, project, "serviceusage.services.get")
        parameters = urllib.parse.parse_qs(request.query, strict_parsing=True)
        names = parameters.pop("names", [])
        valid = all(name.startswith(f"{own}/services/") for name in names)
        if parameters or not 1 <= len(names) <= MOST_READ or not valid:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid names: {names} {parameters}")
        return {"services": [self._service(name.rpartition("/")[2]) for name in names]}

    def batch_enable(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        """Begins to enable APIs; they are when the operation is read the next time."""
        self._check(caller, project, "serviceusage.services.enable")
        body = request.json()
        apis = body.get("serviceIds", [])
        if set(body) != {"serviceIds"} or not 1 <= len(apis) <= MOST_ENABLED:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"serviceIds has to name 1 to {MOST_ENABLED} services: {body}")
        if unknown := [api for api in apis if not api.endswith(".googleapis.com")]:
            raise Refused(StatusCode.NOT_FOUND, f"Not found or permission denied for service(s): {unknown}.")
        return {"name": f"operations/acf.{'_'.join(api.partition('.')[0] for api in apis)}"}

    def operation(self, request: Request, caller: Caller, operation: str) -> dict[str, Any]:
        apis = [f"{api}.googleapis.com" for api in operation.removeprefix("acf.").split("_")]
        self.disabled.difference_update(apis)
        return {"name": f"operations/{operation}", "done": True, "response": {"services": [*map(self._service, apis)]}}

    def _check(self, caller: Caller, project: str, permission: str) -> None:
        if project not in (self._cloud.project, self._cloud.project_number):
            raise Refused(StatusCode.PERMISSION_DENIED, f"Permission denied to get service [projects/{project}]")
        self._cloud.policies.demand(caller.principal, f"projects/{self._cloud.project}", permission)

    def _service(self, api: str) -> dict[str, str]:
        number = f"projects/{self._cloud.project_number}"
        state = "DISABLED" if api in self.disabled else "ENABLED"
        return {"name": f"{number}/services/{api}", "parent": number, "state": state}
