"""Checks of the project, its APIs, the service accounts and their roles."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.cloud.rest import NoAnswer
from pipeline.config import Config
from pipeline.doctor.check import Context, Missing, Unknown, grant, grant_command
from pipeline.errors import ApiDisabled
from pipeline.setup import resources
from pipeline.setup.apply import SERVICE_USAGE, read_policy
from pipeline.setup.resources import SECRET, Grant, Resource

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
OWNER = ("roles/owner", "roles/editor")  # basic roles of the project, which include every role below


def project(context: Context) -> str:
    """Checks that the project exists and is active."""
    context.needs("project")
    name = context.config.project
    try:
        found = context.rest.get(resources.project(context.config).url)
    except NoAnswer as refused:
        if refused.disabled:
            raise unreadable(context, refused) from None
        may_see = grant("projects", name, context.member, "roles/browser")
        raise Missing(f"{name} does not exist, or you may not see it: {refused}", may_see) from None
    if found["state"] != "ACTIVE":
        raise Missing(f"{name} is {found['state']}", f"gcloud projects undelete {name}")
    return f"{name}, number {found['name'].rpartition('/')[2]}"


def apis(context: Context) -> str:
    """Checks that all APIs in use are enabled."""
    context.needs("project")
    name = context.config.project
    wanted = resources.apis(context.config)
    try:
        answer = context.rest.get(
            f"{SERVICE_USAGE}/projects/{name}/services:batchGet",
            names=[f"projects/{name}/services/{api}" for api in wanted],
        )
    except NoAnswer as refused:
        fix = grant("projects", name, context.member, "roles/serviceusage.serviceUsageViewer")
        raise unreadable(context, refused, fix) from None
    enabled = {found["name"].rpartition("/")[2] for found in answer["services"] if found["state"] == "ENABLED"}
    if absent := [api for api in wanted if api not in enabled]:
        raise Missing(f"not enabled: {', '.join(absent)}", enable(context.config, absent))
    return f"{len(wanted)} enabled"


def enable(config: Config, services: Iterable[str]) -> str:
    """Returns the command that enables APIs."""
    return f"gcloud services enable {' '.join(services)} --project={config.project}"


def unreadable(context: Context, refused: NoAnswer, *fix: str) -> Unknown:
    """Returns the outcome of a check that a service does not answer; `fix` helps unless its API is not enabled."""
    if refused.disabled:
        return not_enabled(context, refused.disabled)
    return Unknown(str(refused), *fix)


def not_enabled(context: Context, api: str) -> Unknown:
    """Returns the outcome of a check whose API the project has not enabled."""
    return Unknown(ApiDisabled(api).problem, enable(context.config, [api]))


def permissions(context: Context) -> str:
    """Checks that the caller may submit, build, upload and deploy in the project."""
    context.needs("project")
    name = context.config.project
    held = held_permissions(context, f"{resources.project(context.config).url}:testIamPermissions", list(YOURS))
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
        raise unreadable(context, refused) from None


def pipelines_account(context: Context) -> str:
    """Checks that the pipelines' service account exists and that the caller may act as it."""
    context.needs("project", "service_account")
    return _account(context, context.config.service_account)


def build_account(context: Context) -> str:
    """Checks that the builds' service account exists and that the caller may act as it."""
    context.needs("project", "build_service_account")
    return _account(context, context.config.build_service_account)


def _account(context: Context, email: str) -> str:
    account = resources.account(context.config, email)
    act_as = grant("iam service-accounts", email, context.member, "roles/iam.serviceAccountUser")
    try:
        found = context.rest.get(account.url)
    except NoAnswer as refused:
        if refused.status == 404:
            name = email.partition("@")[0]
            create = f"gcloud iam service-accounts create {name} --project={context.config.project}"
            raise Missing(f"{email} does not exist", create) from None
        raise unreadable(context, refused, act_as) from None
    if found.get("disabled"):
        raise Missing(f"{email} is disabled", f"gcloud iam service-accounts enable {email}")
    if not held_permissions(context, f"{account.url}:testIamPermissions", ["iam.serviceAccounts.actAs"]):
        raise Missing(f"{context.caller or 'you'} may not act as {email}", act_as)
    return email


def pipelines_roles(context: Context) -> str:
    """Checks that the pipelines' service account has every role that pipelines need."""
    context.needs("workspace", "project", "service_account")
    wanted = resources.pipelines_grants(context.config)
    return roles(context, [wants for wants in wanted if wants.on.kind is not SECRET])  # which serving.secret checks


def build_roles(context: Context) -> str:
    """Checks that the builds' service account may read the source, push the image and write its log."""
    context.needs("workspace", "project", "image_repository", "build_service_account")
    return roles(context, resources.builds_grants(context.config))


def roles(context: Context, wanted: list[Grant]) -> str:
    """Checks that members have roles, on the resource itself or on the project. Raises Missing, Unknown."""
    project = resources.project(context.config)
    policies = {place: _policy(context, place) for place in dict.fromkeys([project, *(wants.on for wants in wanted)])}
    lacking, unread = [], []
    for wants in wanted:
        levels = [policies[wants.on], policies[project]]
        held = {role for policy in levels if policy is not None for role in _roles_of(policy, wants.member)}
        if held.isdisjoint({wants.role, *WIDER.get(wants.role, ()), *OWNER}):
            (unread if None in levels else lacking).append(wants)
    fix = [grant_command(wants) for wants in [*lacking, *unread]]
    if lacking:
        listed = ", ".join(f"{wants.role} on {wants.on.short}" for wants in lacking)
        raise Missing(f"{lacking[0].member.partition(':')[2]} lacks {listed}", *fix)
    if unread:
        listed = ", ".join(f"{wants.role} on {wants.on.short}" for wants in unread)
        raise Unknown(f"you may not read who has {listed}; granting it again does no harm", *fix)
    return f"{len(wanted)} granted"


def _policy(context: Context, place: Resource) -> Mapping[str, Any] | None:
    """Returns the IAM policy of a resource; None when it may not be read. Raises Unknown while an API is disabled."""
    try:
        return read_policy(context.rest, place)
    except NoAnswer as refused:
        if refused.disabled:
            raise unreadable(context, refused) from None
        return None


def exists(context: Context, place: Resource) -> bool:
    """False where a resource is certainly missing, by the answer to a question for its policy."""
    try:
        read_policy(context.rest, place)
    except NoAnswer as refused:
        return refused.status != 404
    return True


def _roles_of(policy: Mapping[str, Any], member: str) -> set[str]:
    """Returns the roles that a policy grants to a member without a condition."""
    bindings = [binding for binding in policy.get("bindings", []) if not binding.get("condition")]
    return {binding["role"] for binding in bindings if member in binding.get("members", [])}
