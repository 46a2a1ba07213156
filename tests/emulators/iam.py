"""IAM: service accounts and permissions to act as them.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts
"""

import re
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.policies import requested_version
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
            Route("POST", f"{name}:setIamPolicy", "SetIamPolicy", self.set_policy),
            Route("POST", f"{name}:enable", "EnableServiceAccount", self.enable),
            Route("POST", "/v1/projects/{project}/serviceAccounts", "CreateServiceAccount", self.create),
            Route("GET", name, "GetServiceAccount", self.get),
        ]

    def create(self, request: Request, caller: Caller, project: str) -> dict[str, Any]:
        own = f"projects/{project}" if project == self._cloud.project else "another project"
        self._cloud.policies.demand(caller.principal, own, "iam.serviceAccounts.create")
        body = request.json()
        short, described = body.get("accountId", ""), body.get("serviceAccount", {})
        if set(body) - {"accountId", "serviceAccount"} or set(described) - {"displayName", "description"}:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid JSON payload received. Unknown fields: {body}")
        if not re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", short):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The account ID has to be 6 to 30 characters long.")
        email = f"{short}@{project}.iam.gserviceaccount.com"
        if email in self.accounts:
            message = f"Service account {short} already exists within project projects/{project}."
            raise Refused(StatusCode.ALREADY_EXISTS, message)
        self.accounts[email] = False
        return {"name": f"projects/{project}/serviceAccounts/{email}", "email": email, **described}

    def enable(self, request: Request, caller: Caller, project: str, account: str) -> dict[str, Any]:
        self._check_exists(project, account)
        self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account}", "iam.serviceAccounts.enable")
        self.accounts[account] = False
        return {}

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
        return self._cloud.policies.policy(f"serviceAccounts/{account}", requested_version(request))

    def set_policy(self, request: Request, caller: Caller, project: str, account: str) -> dict[str, Any]:
        self._check_exists(project, account)
        self._cloud.policies.demand(caller.principal, f"serviceAccounts/{account}", "iam.serviceAccounts.setIamPolicy")
        return self._cloud.policies.replace(f"serviceAccounts/{account}", request.json().get("policy"))

    def _check_exists(self, project: str, account: str) -> None:
        """Raises Refused for an account that does not exist; with `-` for the project it is 403 instead of 404.

        https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts#ServiceAccount.FIELDS.name
        """
        if project == "-" and account not in self.accounts:
            message = f"Permission 'iam.serviceAccounts.get' denied on resource '{account}' (or it may not exist)."
            raise Refused(StatusCode.PERMISSION_DENIED, message)
        if project not in ("-", self._cloud.project) or account not in self.accounts:
            raise Refused(StatusCode.NOT_FOUND, f"Unknown service account {account}")
