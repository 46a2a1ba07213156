"""IAM policies: roles granted on projects, buckets, accounts, repositories and secrets."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

# The permissions of each predefined role that the local servers check: https://cloud.google.com/iam/docs/roles-permissions
ROLES: Mapping[str, tuple[str, ...]] = {
    "roles/aiplatform.user": (
        "aiplatform.batchPredictionJobs.create",
        "aiplatform.customJobs.create",
        "aiplatform.endpoints.create",
        "aiplatform.endpoints.deploy",
        "aiplatform.models.upload",
        "aiplatform.pipelineJobs.create",
    ),
    "roles/artifactregistry.reader": ("artifactregistry.dockerimages.get", "artifactregistry.repositories.get"),
    "roles/artifactregistry.writer": (
        "artifactregistry.dockerimages.get",
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
    "roles/iam.serviceAccountUser": ("iam.serviceAccounts.actAs", "iam.serviceAccounts.get"),
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


class Policies(Service):
    """Policies by resource name: projects/ID, buckets/NAME, serviceAccounts/EMAIL and so on.

    After a reset the clients' account has every role, and the builds' account those of docs/google-cloud.md.
    The REST method serves policies of buckets.
    """

    name = "storage"
    hosts = ("storage.googleapis.com",)

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._project = f"projects/{cloud.project}"
        self._granted: dict[str, dict[str, set[str]]] = {}  # {resource: {role: principals}}

    def reset(self) -> None:
        self._granted = {self._project: {role: {self._cloud.account} for role in ROLES}}
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

    def policy(self, resource: str) -> dict[str, Any]:
        """A resource's own policy in the services' format."""
        bindings = [
            {"role": role, "members": sorted(f"serviceAccount:{principal}" for principal in principals)}
            for role, principals in self._granted.get(resource, {}).items()
            if principals
        ]
        return {"version": 1, "etag": "BwYgAAAAAAA=", "bindings": bindings}

    def routes(self):
        return [
            Route("GET", "/storage/v1/b/{bucket}/iam", "buckets.getIamPolicy", self.bucket_policy),
        ]

    def bucket_policy(self, request: Request, caller: Caller, bucket: str) -> dict[str, Any]:
        self._check_exists(bucket)
        self.demand(caller.principal, f"buckets/{bucket}", "storage.buckets.getIamPolicy")
        return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket}"} | self.policy(
            f"buckets/{bucket}"
        )

    def _check_exists(self, bucket: str) -> None:
        if bucket != self._cloud.bucket:
            raise Refused(StatusCode.NOT_FOUND, "The specified bucket does not exist.")
