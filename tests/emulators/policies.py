"""IAM policies: roles granted on projects, buckets, accounts, repositories and secrets."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.gcs.errors import StorageError
from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

# The permissions of each predefined role that the local servers check: https://cloud.google.com/iam/docs/roles-permissions
_ROLES: Mapping[str, tuple[str, ...]] = {
    "roles/aiplatform.user": (
        "aiplatform.batchPredictionJobs.create",
        "aiplatform.customJobs.create",
        "aiplatform.datasets.create",
        "aiplatform.datasets.export",
        "aiplatform.datasets.import",
        "aiplatform.endpoints.create",
        "aiplatform.endpoints.deploy",
        "aiplatform.models.export",
        "aiplatform.models.upload",
        "aiplatform.pipelineJobs.create",
        "aiplatform.pipelineJobs.get",
        "aiplatform.pipelineJobs.list",
        "aiplatform.trainingPipelines.create",
        "aiplatform.trainingPipelines.list",
    ),
    "roles/aiplatform.viewer": ("aiplatform.pipelineJobs.get", "aiplatform.pipelineJobs.list"),
    "roles/artifactregistry.reader": (
        "artifactregistry.dockerimages.get",
        "artifactregistry.dockerimages.list",
        "artifactregistry.repositories.get",
    ),
    "roles/artifactregistry.repoAdmin": (
        "artifactregistry.dockerimages.get",
        "artifactregistry.dockerimages.list",
        "artifactregistry.repositories.get",
        "artifactregistry.repositories.uploadArtifacts",
        "artifactregistry.versions.delete",
    ),
    "roles/artifactregistry.writer": (
        "artifactregistry.dockerimages.get",
        "artifactregistry.dockerimages.list",
        "artifactregistry.repositories.get",
        "artifactregistry.repositories.uploadArtifacts",
    ),
    "roles/browser": ("resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy"),
    "roles/cloudbuild.builds.editor": ("cloudbuild.builds.create", "cloudbuild.builds.get"),
    "roles/cloudkms.admin": (
        "cloudkms.cryptoKeys.create",
        "cloudkms.cryptoKeys.getIamPolicy",
        "cloudkms.keyRings.create",
    ),
    "roles/cloudkms.signerVerifier": (
        "cloudkms.cryptoKeyVersions.useToSign",
        "cloudkms.cryptoKeyVersions.viewPublicKey",
    ),
    "roles/firebaseml.admin": (
        "firebaseml.models.create",
        "firebaseml.models.get",
        "firebaseml.models.list",
        "firebaseml.models.update",
    ),
    "roles/dataflow.developer": ("dataflow.jobs.create",),
    "roles/dataflow.worker": (),
    "roles/iam.securityReviewer": (
        "artifactregistry.repositories.getIamPolicy",
        "cloudkms.cryptoKeys.getIamPolicy",
        "iam.serviceAccounts.getIamPolicy",
        "resourcemanager.projects.getIamPolicy",
        "secretmanager.secrets.getIamPolicy",
        "storage.buckets.getIamPolicy",
    ),
    "roles/iam.serviceAccountTokenCreator": ("iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.signBlob"),
    "roles/iam.serviceAccountUser": ("iam.serviceAccounts.actAs", "iam.serviceAccounts.get"),
    "roles/iam.workloadIdentityPoolViewer": (
        "iam.workloadIdentityPoolProviders.get",
        "iam.workloadIdentityPools.get",
    ),
    "roles/iam.workloadIdentityUser": ("iam.serviceAccounts.getAccessToken",),
    "roles/logging.logWriter": ("logging.logEntries.create",),
    "roles/secretmanager.secretAccessor": ("secretmanager.versions.access",),
    "roles/serviceusage.serviceUsageViewer": ("serviceusage.services.get",),
    "roles/storage.legacyBucketReader": ("storage.buckets.get", "storage.objects.list"),
    "roles/storage.objectUser": (
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.get",
        "storage.objects.list",
    ),
    "roles/storage.objectViewer": ("storage.objects.get", "storage.objects.list"),
}
# What only those who set up a project may do here.
_SETTING_UP = (
    "artifactregistry.repositories.create",
    "artifactregistry.repositories.setIamPolicy",
    "cloudkms.cryptoKeys.get",
    "cloudkms.cryptoKeys.setIamPolicy",
    "cloudkms.keyRings.get",
    "iam.serviceAccounts.create",
    "iam.serviceAccounts.enable",
    "iam.serviceAccounts.setIamPolicy",
    *(
        f"iam.{kind}.{verb}"
        for kind in ("workloadIdentityPools", "workloadIdentityPoolProviders")
        for verb in ("create", "undelete", "update")
    ),
    "resourcemanager.projects.setIamPolicy",
    "secretmanager.secrets.create",
    "secretmanager.secrets.get",
    "secretmanager.secrets.setIamPolicy",
    "secretmanager.versions.add",
    "secretmanager.versions.list",
    "serviceusage.services.enable",
    "storage.buckets.setIamPolicy",
)
OWNER = "roles/owner"
ROLES = {**_ROLES, OWNER: (*dict.fromkeys([*_SETTING_UP, *(each for role in _ROLES.values() for each in role)]),)}


class Policies(Service):
    """Policies by resource name: projects/ID, buckets/NAME, serviceAccounts/EMAIL and so on.

    After a reset the clients' account has every role but Owner, and the builds' account those of its own. `conditional`
    are the bindings with conditions, by resource; they grant nothing here. The REST methods serve policies of buckets.
    """

    name = "storage"
    hosts = ("storage.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._project = f"projects/{cloud.project}"
        self._granted: dict[str, dict[str, set[str]]] = {}  # {resource: {role: principals}}
        self._changes: dict[str, int] = {}  # of each resource's policy
        self.conditional: dict[str, list[dict[str, Any]]] = {}

    def reset(self) -> None:
        self._changes.clear()
        self.conditional.clear()
        self._granted = {self._project: {role: {self._cloud.account} for role in _ROLES}}
        for role in ("roles/logging.logWriter", "roles/storage.objectViewer", "roles/artifactregistry.writer"):
            self.grant(self._project, role, self._cloud.builder)

    def clear(self) -> None:
        """Revokes all roles."""
        self._granted.clear()

    def grant(self, resource: str, role: str, principal: str) -> None:
        """Grants a predefined role on a resource to a principal."""
        if role not in ROLES:
            raise ValueError(f"unknown role {role}: if it exists, add its permissions to ROLES in policies.py")
        self._granted.setdefault(resource, {}).setdefault(role, set()).add(principal)

    def revoke(self, resource: str, role: str, principal: str) -> None:
        self._granted[resource][role].remove(principal)

    def allowed(self, principal: str, resource: str, permissions: Iterable[str]) -> list[str]:
        """The subset of permissions that a principal has, by roles on the resource or on the project.

        There are none on a service account that does not exist: "denied (or it may not exist)" says IAM, see
        https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts#ServiceAccount.FIELDS.name.
        """
        kind, _, name = resource.partition("/")
        if kind == "serviceAccounts" and name not in self._cloud.accounts.accounts:
            return []
        held = {
            permission
            for level in (resource, self._project)
            for role, principals in self._granted.get(level, {}).items()
            if principal in principals
            for permission in ROLES[role]
        }
        return [permission for permission in permissions if permission in held]

    def demand(self, principal: str, resource: str, permission: str) -> None:
        """Raises Refused when a principal lacks a permission."""
        if not self.allowed(principal, resource, [permission]):
            raise Refused(
                StatusCode.PERMISSION_DENIED,
                f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
            )

    def policy(self, resource: str, version: int = 1) -> dict[str, Any]:
        """A resource's own policy in the services' format; version 3 has the bindings with conditions, too."""
        bindings = [
            {"role": role, "members": sorted(map(_member, principals))}
            for role, principals in self._granted.get(resource, {}).items()
            if principals
        ]
        conditional = self.conditional.get(resource, []) if version == 3 else []
        etag = base64.b64encode(b"%08d" % self._changes.get(resource, 0)).decode()
        return {"version": 3 if conditional else 1, "etag": etag, "bindings": [*bindings, *conditional]}

    def replace(self, resource: str, wanted: Any) -> dict[str, Any]:
        """Replaces a resource's policy and returns it; raises Refused for one that no service takes.

        https://cloud.google.com/iam/docs/reference/rest/v1/Policy, and for the etag
        https://cloud.google.com/iam/docs/allow-policies#etag
        """
        if not isinstance(wanted, dict) or set(wanted) - _POLICY_FIELDS:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid JSON payload received. Not a policy: {wanted}")
        if wanted.get("etag", "") not in ("", self.policy(resource)["etag"]):
            message = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential"
            raise Refused(StatusCode.ABORTED, f"{message} backoff.")
        bindings = wanted.get("bindings", [])
        conditional = [binding for binding in bindings if binding.get("condition")]
        if conditional and wanted.get("version") != 3:
            raise Refused(StatusCode.INVALID_ARGUMENT, "A policy with conditions has to be of version 3.")
        granted: dict[str, set[str]] = {}
        for binding in bindings:
            if binding["role"] not in ROLES:
                role = binding["role"]
                raise Refused(StatusCode.INVALID_ARGUMENT, f"Role {role} is not supported for this resource.")
            principals = {self._principal(member) for member in binding["members"]}
            if binding not in conditional:
                granted.setdefault(binding["role"], set()).update(principals)
        self._granted[resource], self.conditional[resource] = granted, conditional
        self._changes[resource] = self._changes.get(resource, 0) + 1
        return self.policy(resource, 3)

    def _principal(self, member: str) -> str:
        """The principal that a member of a binding names; raises Refused where there is none."""
        kind, _, name = member.partition(":")
        own = name.endswith(f"@{self._cloud.project}.iam.gserviceaccount.com")
        if kind == "serviceAccount" and own and name not in self._cloud.accounts.accounts:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Service account {name} does not exist.")
        if kind in ("serviceAccount", "user") and "@" in name:
            return name
        if kind in ("allUsers", "allAuthenticatedUsers") or re.fullmatch(_FEDERATED, member):
            return member
        raise Refused(StatusCode.INVALID_ARGUMENT, f"The member {member} is of an unknown type.")

    def routes(self):
        name = "/storage/v1/b/{bucket}/iam"
        return [
            Route("GET", name, "buckets.getIamPolicy", self.bucket_policy),
            Route("PUT", name, "buckets.setIamPolicy", self.set_bucket_policy),
        ]

    def bucket_policy(self, request: Request, caller: Caller, bucket: str) -> dict[str, Any]:
        self._check_exists(bucket)
        self.demand(caller.principal, f"buckets/{bucket}", "storage.buckets.getIamPolicy")
        version = int(request.parameters().get("optionsRequestedPolicyVersion", "1"))
        return _of_bucket(bucket, self.policy(f"buckets/{bucket}", version))

    def set_bucket_policy(self, request: Request, caller: Caller, bucket: str) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy"""
        self._check_exists(bucket)
        self.demand(caller.principal, f"buckets/{bucket}", "storage.buckets.setIamPolicy")
        wanted = {name: value for name, value in request.json().items() if name not in ("kind", "resourceId")}
        public = {"allUsers", "allAuthenticatedUsers"}
        members = {member for binding in wanted.get("bindings", []) for member in binding.get("members", [])}
        prevented = self._cloud.gcs.store.bucket(bucket).properties.get("iamConfiguration", {})
        if members & public and prevented.get("publicAccessPrevention") == "enforced":
            # https://cloud.google.com/storage/docs/public-access-prevention
            message = f"The member bindings {', '.join(sorted(members & public))} are not allowed since public access"
            raise StorageError(412, f"{message} prevention is enforced.")
        return _of_bucket(bucket, self.replace(f"buckets/{bucket}", wanted))

    def _check_exists(self, bucket: str) -> None:
        if bucket not in self._cloud.gcs.store.buckets:
            raise Refused(StatusCode.NOT_FOUND, "The specified bucket does not exist.")


_POLICY_FIELDS = {"version", "etag", "bindings", "auditConfigs"}
_FEDERATED = r"principal(Set)?://iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/.+"


def requested_version(request: Request) -> int:
    """The version of the policy that a call asks for."""
    options = request.json().get("options", {}) if request.body else {}
    return int(options.get("requestedPolicyVersion", request.parameters().get("options.requestedPolicyVersion", "1")))


def _member(principal: str) -> str:
    """A principal as policies name it."""
    if "@" not in principal:
        return principal
    return f"{'serviceAccount' if principal.endswith('gserviceaccount.com') else 'user'}:{principal}"


def _of_bucket(bucket: str, policy: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket}", **policy}
