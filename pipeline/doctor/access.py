"""Checks of the project, its APIs, the service accounts and their roles."""

from collections.abc import Iterable
from typing import Any

from pipeline.cloud.kms import KMS
from pipeline.cloud.rest import NoAnswer
from pipeline.config import Config, is_kms_key
from pipeline.doctor.check import Context, Missing, Unknown, grant

RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com/v3/projects"
SERVICE_USAGE = "https://serviceusage.googleapis.com/v1/projects"
IAM = "https://iam.googleapis.com/v1/projects/-/serviceAccounts"
STORAGE = "https://storage.googleapis.com/storage/v1/b"
ARTIFACT_REGISTRY = "https://artifactregistry.googleapis.com/v1"

APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbuild",
    "cloudresourcemanager",
    "iam",
    "iamcredentials",
    "secretmanager",
    "serviceusage",
    "storage",
)
# Permissions in the project for submitting, building and promoting, each with the narrowest role that grants it.
YOURS = {
    "aiplatform.batchPredictionJobs.create": "roles/aiplatform.user",
    "aiplatform.endpoints.deploy": "roles/aiplatform.user",
    "aiplatform.models.upload": "roles/aiplatform.user",
    "aiplatform.pipelineJobs.create": "roles/aiplatform.user",
    "cloudbuild.builds.create": "roles/cloudbuild.builds.editor",
}
# Roles that include the wanted one.
WIDER = {
    "roles/storage.objectUser": ("roles/storage.objectAdmin", "roles/storage.admin"),
    "roles/storage.objectViewer": ("roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"),
    "roles/storage.legacyBucketReader": (
        "roles/storage.legacyBucketWriter",
        "roles/storage.legacyBucketOwner",
        "roles/storage.admin",
    ),
    "roles/artifactregistry.writer": ("roles/artifactregistry.repoAdmin", "roles/artifactregistry.admin"),
    "roles/aiplatform.user": ("roles/aiplatform.admin",),
    "roles/dataflow.developer": ("roles/dataflow.admin",),
}
SIGNER = "roles/cloudkms.signerVerifier"
OWNER = ("roles/owner", "roles/editor")  # basic roles of the project, which include every role below


def project(context: Context) -> str:
    """Checks that the project exists and is active."""
    context.needs("project")
    name = context.config.project
    try:
        found = context.rest.get(f"{RESOURCE_MANAGER}/{name}")
    except NoAnswer as refused:
        if refused.disabled:
            raise Unknown(str(refused), enable(context.config, [refused.disabled])) from None
        may_see = grant("projects", name, context.member, "roles/browser")
        raise Missing(f"{name} does not exist, or you may not see it: {refused}", may_see) from None
    if found["state"] != "ACTIVE":
        raise Missing(f"{name} is {found['state']}", f"gcloud projects undelete {name}")
    return f"{name}, number {found['name'].rpartition('/')[2]}"


def apis(context: Context) -> str:
    """Checks that all APIs in use are enabled."""
    context.needs("project")
    name = context.config.project
    more = {"dataflow": context.config.dataflow_workers, "cloudkms": is_kms_key(context.config.device_signing_key)}
    wanted = [f"{api}.googleapis.com" for api in (*APIS, *(api for api, used in more.items() if used))]
    try:
        answer = context.rest.get(
            f"{SERVICE_USAGE}/{name}/services:batchGet", names=[f"projects/{name}/services/{api}" for api in wanted]
        )
    except NoAnswer as refused:
        fix = grant("projects", name, context.member, "roles/serviceusage.serviceUsageViewer")
        raise Unknown(str(refused), enable(context.config, [refused.disabled]) if refused.disabled else fix) from None
    enabled = {found["name"].rpartition("/")[2] for found in answer["services"] if found["state"] == "ENABLED"}
    if absent := [api for api in wanted if api not in enabled]:
        raise Missing(f"not enabled: {', '.join(absent)}", enable(context.config, absent))
    return f"{len(wanted)} enabled"


def enable(config: Config, services: Iterable[str]) -> str:
    """Returns the command that enables APIs."""
    return f"gcloud services enable {' '.join(services)} --project={config.project}"


def permissions(context: Context) -> str:
    """Checks that the caller may submit, build, upload and deploy in the project."""
    context.needs("project")
    name = context.config.project
    held = held_permissions(context, f"{RESOURCE_MANAGER}/{name}:testIamPermissions", list(YOURS))
    if absent := [permission for permission in YOURS if permission not in held]:
        roles = sorted({YOURS[permission] for permission in absent})
        fix = [grant("projects", name, context.member, role) for role in roles]
        raise Missing(f"{context.caller or 'you'} may not {', '.join(absent)}", *fix)
    return f"{context.caller or 'you'} may submit, build, upload and deploy"


def held_permissions(context: Context, url: str, wanted: list[str]) -> list[str]:
    """Returns those of the permissions that the caller has on a resource, by its testIamPermissions."""
    try:
        return context.rest.post(url, {"permissions": wanted}).get("permissions", [])
    except NoAnswer as refused:
        disabled = enable(context.config, [refused.disabled]) if refused.disabled else ""
        raise Unknown(str(refused), *filter(None, [disabled])) from None


def pipelines_account(context: Context) -> str:
    """Checks that the pipelines' service account exists and that the caller may act as it."""
    context.needs("project", "service_account")
    return _account(context, context.config.service_account)


def build_account(context: Context) -> str:
    """Checks that the builds' service account exists and that the caller may act as it."""
    context.needs("project", "build_service_account")
    return _account(context, context.config.build_service_account)


def _account(context: Context, email: str) -> str:
    act_as = grant("iam service-accounts", email, context.member, "roles/iam.serviceAccountUser")
    try:
        found = context.rest.get(f"{IAM}/{email}")
    except NoAnswer as refused:
        if refused.status == 404:
            name = email.partition("@")[0]
            create = f"gcloud iam service-accounts create {name} --project={context.config.project}"
            raise Missing(f"{email} does not exist", create) from None
        raise Unknown(str(refused), act_as) from None
    if found.get("disabled"):
        raise Missing(f"{email} is disabled", f"gcloud iam service-accounts enable {email}")
    if not held_permissions(context, f"{IAM}/{email}:testIamPermissions", ["iam.serviceAccounts.actAs"]):
        raise Missing(f"{context.caller or 'you'} may not act as {email}", act_as)
    return email


def pipelines_roles(context: Context) -> str:
    """Checks that the pipelines' service account has every role that pipelines need."""
    context.needs("workspace", "project", "service_account")
    config, email = context.config, context.config.service_account
    project = ["roles/aiplatform.user", "roles/logging.logWriter"]
    if config.dataflow_workers:
        project += ["roles/dataflow.developer", "roles/dataflow.worker"]
    wanted = [
        *((on_project(config), role) for role in project),
        (on_bucket(context.bucket), "roles/storage.objectUser"),
        (on_bucket(context.bucket), "roles/storage.legacyBucketReader"),
        (on_account(email), "roles/iam.serviceAccountUser"),  # it starts pipelines that run as itself
    ]
    if config.device_channel and is_kms_key(config.device_signing_key):
        wanted.append((on_key(config.device_signing_key), SIGNER))
    if config.device_channel.startswith("gs://"):
        channel = config.device_channel.removeprefix("gs://").partition("/")[0]
        wanted.append((on_bucket(channel), "roles/storage.objectUser"))
    return roles(context, email, wanted)


def build_roles(context: Context) -> str:
    """Checks that the builds' service account may read the source, push the image and write its log."""
    context.needs("workspace", "project", "image_repository", "build_service_account")
    wanted = [
        (on_project(context.config), "roles/logging.logWriter"),
        (on_bucket(context.bucket), "roles/storage.objectViewer"),
        (on_repository(context.config), "roles/artifactregistry.writer"),
    ]
    return roles(context, context.config.build_service_account, wanted)


Resource = tuple[str, str, str, str]  # gcloud's kind and name; HTTP method and URL of its IAM policy


def on_project(config: Config) -> Resource:
    """Returns the project as a resource that has an IAM policy."""
    return "projects", config.project, "POST", f"{RESOURCE_MANAGER}/{config.project}:getIamPolicy"


def on_bucket(bucket: str) -> Resource:
    """Returns a bucket as a resource that has an IAM policy."""
    return "storage buckets", f"gs://{bucket}", "GET", f"{STORAGE}/{bucket}/iam"


def on_account(email: str) -> Resource:
    """Returns a service account as a resource that has an IAM policy."""
    return "iam service-accounts", email, "POST", f"{IAM}/{email}:getIamPolicy"


def on_repository(config: Config) -> Resource:
    """Returns the image repository as a resource that has an IAM policy."""
    place, project, repository = repository_of(config)
    name = f"projects/{project}/locations/{place}/repositories/{repository}"
    options = f"{repository} --location={place} --project={project}"
    return "artifacts repositories", options, "GET", f"{ARTIFACT_REGISTRY}/{name}:getIamPolicy"


def on_key(version: str) -> Resource:
    """Returns the key of a version in Cloud KMS as a resource that has an IAM policy."""
    key = version.partition("/cryptoKeyVersions/")[0]
    _, project, _, location, _, ring, _, name = key.split("/")
    options = f"{name} --keyring={ring} --location={location} --project={project}"
    return "kms keys", options, "GET", f"{KMS}/{key}:getIamPolicy"


def on_secret(name: str) -> Resource:
    """Returns a secret (projects/PROJECT/secrets/NAME/...) as a resource that has an IAM policy."""
    _, project, _, secret, *_ = name.split("/")
    url = f"https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{secret}:getIamPolicy"
    return "secrets", f"{secret} --project={project}", "GET", url


def repository_of(config: Config) -> tuple[str, str, str]:
    """Returns region, project and name of the image repository; raises Missing outside Artifact Registry."""
    host, *parts = config.image_repository.split("/")
    place = host.removesuffix("-docker.pkg.dev")
    if place == host or len(parts) < 3:
        raise Missing(
            f"{config.image_repository} is not on Artifact Registry",
            "export IMAGE_REPOSITORY=europe-west1-docker.pkg.dev/MY-PROJECT/spanloop/pipelines",
        )
    return place, parts[0], parts[1]


def roles(context: Context, email: str, wanted: list[tuple[Resource, str]]) -> str:
    """Checks that an account has roles, on the resource itself or on the project. Raises Missing, Unknown."""
    granted = {resource: _granted(context, resource, email) for resource in dict(wanted)}
    project = _granted(context, on_project(context.config), email)
    lacking, unread = [], []
    for resource, role in wanted:
        levels = [granted[resource], project]
        held = set().union(*(level for level in levels if level is not None))
        if held.isdisjoint({role, *WIDER.get(role, ()), *OWNER}):
            (unread if None in levels else lacking).append((resource, role))
    member = f"serviceAccount:{email}"
    fix = [grant(resource[0], resource[1], member, role) for resource, role in [*lacking, *unread]]
    if lacking:
        roles = ", ".join(f"{role} on {resource[1].split()[0]}" for resource, role in lacking)
        raise Missing(f"{email} lacks {roles}", *fix)
    if unread:
        roles = ", ".join(f"{role} on {resource[1].split()[0]}" for resource, role in unread)
        raise Unknown(f"you may not read who has {roles}; granting it again does no harm", *fix)
    return f"{len(wanted)} granted"


def _granted(context: Context, resource: Resource, email: str) -> set[str] | None:
    """Returns the roles of an account on a resource; None when its policy may not be read."""
    _, _, verb, url = resource
    try:
        policy: dict[str, Any] = context.rest.get(url) if verb == "GET" else context.rest.post(url, {})
    except NoAnswer:
        return None
    bindings = policy.get("bindings", [])
    return {binding["role"] for binding in bindings if f"serviceAccount:{email}" in binding["members"]}
