"""Resource Manager: the project and its IAM policy."""

from typing import TYPE_CHECKING, Any

from google.cloud import resourcemanager_v3 as types
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import json_format
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Rpc, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

_RPC = "/google.cloud.resourcemanager.v3.Projects"


class ResourceManager(Service):
    """One project, by ID or number. A caller without permission gets the same error whether a project exists or not."""

    name = "cloudresourcemanager"
    hosts = ("cloudresourcemanager.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud

    def rpcs(self):
        test = Rpc(iam_policy_pb2.TestIamPermissionsRequest, iam_policy_pb2.TestIamPermissionsResponse, self.test)
        return {
            f"{_RPC}/GetProject": Rpc(types.GetProjectRequest, types.Project, self.get),
            f"{_RPC}/GetIamPolicy": Rpc(iam_policy_pb2.GetIamPolicyRequest, policy_pb2.Policy, self.policy),
            f"{_RPC}/TestIamPermissions": test,
        }

    def routes(self):
        name = "/v3/projects/{project}"
        return [
            Route("GET", name, "GetProject", self._rest(types.GetProjectRequest.pb, types.GetProjectRequest, self.get)),
            Route(
                "POST",
                f"{name}:getIamPolicy",
                "GetIamPolicy",
                self._rest(None, iam_policy_pb2.GetIamPolicyRequest, self.policy),
            ),
            Route(
                "POST",
                f"{name}:testIamPermissions",
                "TestIamPermissions",
                self._rest(None, iam_policy_pb2.TestIamPermissionsRequest, self.test),
            ),
            Route("POST", f"{name}:setIamPolicy", "SetIamPolicy", self.set_policy),
        ]

    def _rest(self, bare: Any, kind: type, handler: Any) -> Any:
        """Adapts a gRPC handler to REST; parses JSON strictly as `kind`."""

        def handle(request: Request, caller: Caller, project: str) -> dict[str, Any]:
            message = kind()
            plain = bare(message) if bare else message
            try:
                json_format.ParseDict(request.json(), plain, ignore_unknown_fields=False)
            except json_format.ParseError as error:
                raise Refused(StatusCode.INVALID_ARGUMENT, str(error)) from None
            setattr(message, "name" if bare else "resource", f"projects/{project}")
            found = handler(message, caller)
            return json_format.MessageToDict(type(found).pb(found) if bare else found)

        return handle

    def get(self, request: types.GetProjectRequest, caller: Caller) -> types.Project:
        self._demand(request.name, caller, "resourcemanager.projects.get")
        return types.Project(
            name=f"projects/{self._cloud.project_number}",
            project_id=self._cloud.project,
            display_name=self._cloud.project,
            state=types.Project.State.ACTIVE,
            etag='W/"1"',
        )

    def policy(self, request: iam_policy_pb2.GetIamPolicyRequest, caller: Caller) -> policy_pb2.Policy:
        self._demand(request.resource, caller, "resourcemanager.projects.getIamPolicy")
        version = request.options.requested_policy_version or 1
        policy = self._cloud.policies.policy(f"projects/{self._cloud.project}", version)
        return json_format.ParseDict(policy, policy_pb2.Policy())

    def set_policy(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        self._demand(f"projects/{project}", caller, "resourcemanager.projects.setIamPolicy")
        return self._cloud.policies.replace(f"projects/{self._cloud.project}", request.json().get("policy"))

    def test(
        self, request: iam_policy_pb2.TestIamPermissionsRequest, caller: Caller
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        self._check_exists(request.resource, "resourcemanager.projects.get")
        own = f"projects/{self._cloud.project}"
        allowed = self._cloud.policies.allowed(caller.principal, own, request.permissions)
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=allowed)

    def _demand(self, name: str, caller: Caller, permission: str) -> None:
        self._check_exists(name, permission)
        self._cloud.policies.demand(caller.principal, f"projects/{self._cloud.project}", permission)

    def _check_exists(self, name: str, permission: str) -> None:
        if name not in (f"projects/{self._cloud.project}", f"projects/{self._cloud.project_number}"):
            message = f"Permission '{permission}' denied on resource '{name}' (or it may not exist)."
            raise Refused(StatusCode.PERMISSION_DENIED, message)
