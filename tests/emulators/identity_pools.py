"""Workload Identity Federation: pools of identities from outside, and the providers that accept their tokens.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools
"""

import re
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

_POOLS = "/v1/projects/{project}/locations/global/workloadIdentityPools"
_PROVIDERS = f"{_POOLS}/{{pool}}/providers"
_FIELDS = {
    "providers": {"displayName", "description", "disabled", "attributeMapping", "attributeCondition", "oidc"},
    "workloadIdentityPools": {"displayName", "description", "disabled"},
}
# Issuers of tokens for everybody, which therefore need a condition:
# https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines#conditions
_SHARED = ("https://token.actions.githubusercontent.com",)


class IdentityPools(Service):
    """Pools and providers by resource name. What is deleted keeps its name, until it is undeleted."""

    name = "iam"
    hosts = ("iam.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self.found: dict[str, dict[str, Any]] = {}

    def reset(self) -> None:
        self.found.clear()

    def add(self, pool: str, mapping: dict[str, str], issuer: str) -> None:
        """Creates a pool with a provider of the same name."""
        name = f"projects/{self._cloud.project}/locations/global/workloadIdentityPools/{pool}"
        provider = f"{name}/providers/{pool}"
        self.found[name] = {"name": name, "state": "ACTIVE"}
        about = {"attributeMapping": mapping, "oidc": {"issuerUri": issuer}}
        self.found[provider] = {"name": provider, "state": "ACTIVE", **about}

    def delete(self, pool: str) -> None:
        """Deletes a pool of the project by its short name, with its providers."""
        name = f"projects/{self._cloud.project}/locations/global/workloadIdentityPools/{pool}"
        self.found[name]["state"] = "DELETED"

    def routes(self):
        found = []
        for place, kind in ((_POOLS, "Pool"), (_PROVIDERS, "PoolProvider")):
            name = f"{place}/{{name}}"
            found += [
                Route("POST", place, f"CreateWorkloadIdentity{kind}", self.create),
                Route("POST", f"{name}:undelete", f"UndeleteWorkloadIdentity{kind}", self.undelete),
                Route("GET", name, f"GetWorkloadIdentity{kind}", self.get),
                Route("PATCH", name, f"UpdateWorkloadIdentity{kind}", self.patch),
                Route("GET", f"{name}/operations/{{operation}}", "GetOperation", self.operation),
            ]
        return found

    def get(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        self._demand(caller, "get", parts)
        return self._find(parts)

    def create(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        """Begins to create a pool or provider; it exists when the operation has ended."""
        self._demand(caller, "create", parts)
        identifier = "workloadIdentityPoolProviderId" if "pool" in parts else "workloadIdentityPoolId"
        short, body = request.parameters().get(identifier, ""), request.json()
        if not re.fullmatch(r"[a-z0-9-]{4,32}", short) or short.startswith("gcp-"):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"{identifier} has to match [a-z0-9-]{{4,32}}: {short!r}")
        name = _name({**parts, "name": short})
        if name in self.found:
            raise Refused(StatusCode.ALREADY_EXISTS, "Requested entity already exists")
        if "pool" in parts:
            self._find({"project": parts["project"], "name": parts["pool"]})
        _check(name, body)
        self.found[name] = {"name": name, "state": "ACTIVE", **body}
        return {"name": f"{name}/operations/1"}

    def patch(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        self._demand(caller, "update", parts)
        body, mask = request.json(), set(filter(None, request.parameters().get("updateMask", "").split(",")))
        if not mask or not set(body) <= mask:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"The update mask {sorted(mask)} has to name {sorted(body)}.")
        found = self._find(parts)
        _check(found["name"], {**{name: found[name] for name in found if name not in ("name", "state")}, **body})
        found.update(body)
        return {"name": f"{found['name']}/operations/2"}

    def undelete(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        self._demand(caller, "undelete", parts)
        found = self._find(parts)
        if found["state"] != "DELETED":
            raise Refused(StatusCode.FAILED_PRECONDITION, f"{found['name']} is not deleted.")
        found["state"] = "ACTIVE"
        return {"name": f"{found['name']}/operations/3"}

    def operation(self, request: Request, caller: Caller, operation: str, **parts: str) -> dict[str, Any]:
        return {"name": f"{_name(parts)}/operations/{operation}", "done": True, "response": self._find(parts)}

    def _find(self, parts: dict[str, str]) -> dict[str, Any]:
        try:
            return self.found[_name(parts)]
        except KeyError:
            raise Refused(StatusCode.NOT_FOUND, "Requested entity was not found.") from None

    def _demand(self, caller: Caller, verb: str, parts: dict[str, str]) -> None:
        kind = "workloadIdentityPoolProviders" if "pool" in parts else "workloadIdentityPools"
        own = f"projects/{parts['project']}" if parts["project"] == self._cloud.project else "another project"
        self._cloud.policies.demand(caller.principal, own, f"iam.{kind}.{verb}")


def _name(parts: dict[str, str]) -> str:
    pools = f"projects/{parts['project']}/locations/global/workloadIdentityPools"
    return f"{pools}/{parts['pool']}/providers/{parts['name']}" if "pool" in parts else f"{pools}/{parts['name']}"


def _check(name: str, body: dict[str, Any]) -> None:
    """Raises Refused for a pool or provider that the service does not take."""
    kind = name.split("/")[-2]
    if unknown := sorted(set(body) - _FIELDS[kind]):
        raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid JSON payload received. Unknown name {unknown[0]!r}")
    if kind != "providers":
        return
    mapping, condition = body.get("attributeMapping", {}), body.get("attributeCondition", "")
    if not mapping.get("google.subject"):
        raise Refused(StatusCode.INVALID_ARGUMENT, "The attribute mapping must map google.subject.")
    for key, value in mapping.items():
        if not re.fullmatch(r"google\.(subject|groups)|attribute\.[a-z0-9_]{1,100}", key) or len(value) > 2048:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid attribute mapping {key}={value}.")
    issuer = body.get("oidc", {}).get("issuerUri", "")
    if not issuer.startswith("https://"):
        raise Refused(StatusCode.INVALID_ARGUMENT, f"The issuer URI must begin with https://: {issuer!r}")
    if len(condition) > 4096:
        raise Refused(StatusCode.INVALID_ARGUMENT, "The attribute condition is longer than 4096 characters.")
    if issuer in _SHARED and "assertion." not in condition and "attribute." not in condition:
        message = "The attribute condition must reference one of the provider's claims. For more information, see "
        page = "https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines#conditions"
        raise Refused(StatusCode.INVALID_ARGUMENT, message + page)
