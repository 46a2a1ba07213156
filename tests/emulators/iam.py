"""IAM: service accounts and permissions to act as them."""

from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud


class Iam(Service):
    """The project's service accounts, by email."""

    name = "iam"
    hosts = ("iam.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.accounts: dict[str, bool] = {}  # {email: disabled}

    def reset(self) -> None:
        self.accounts = {self._cloud.account: False, self._cloud.builder: False}

    def routes(self):
        name = "/v1/projects/{project}/serviceAccounts/{account}"
        return [
            Route("POST", f"{name}:testIamPermissions", "TestIamPermissions", self.test),
            Route("POST", f"{name}:getIamPolicy", "GetIamPolicy", self.policy),
            Route("GET", name, "GetServiceAccount", self.get),
        ]

    def get(self, request: Request, caller: Caller, project: str, account: str) -> dict[str, Any]:
        self._check_exists(project, account)
        self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account}", "iam.serviceAccounts.get")
        return {
            "name": f"projects/{self._cloud.project}/serviceAccounts/{account}",
            "projectId": self._cloud.project,
            "uniqueId": "1",
            "email": account,
            **({"disabled": True} if self.accounts[account] else {}),
        }

    def test(self, request: Request, caller: Caller, project: str, account: str) -> dict[str, Any]:
        self._check_exists(project, account)
        asked = request.json()
        if set(asked) != {"permissions"}:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Unknown or missing fields: {sorted(asked)}")
        allowed = self._cloud.policies.allowed(caller.principal, f"serviceAccounts/{account}", asked["permissions"])
        return {"permissions": allowed} if allowed else {}

    def policy(self, request: Request, caller: Caller, project: str, account: str) -> dict[str, Any]:
        self._check_exists(project, account)
        self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account}", "iam.serviceAccounts.getIamPolicy")
        return self._cloud.policies.policy(f"serviceAccounts/{account}")

    def _check_exists(self, project: str, account: str) -> None:
        if project not in ("-", self._cloud.project) or account not in self.accounts:
            raise Refused(StatusCode.NOT_FOUND, f"Unknown service account {account}")
