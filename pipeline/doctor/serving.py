"""Checks of Vertex AI, by its own client, of the endpoint and of the secret."""

from pipeline.cloud import secrets
from pipeline.cloud.calls import without_support_warnings
from pipeline.cloud.vertex import client, location
from pipeline.doctor.access import enable, on_secret, roles
from pipeline.doctor.check import Context, Missing, Unknown, grant
from pipeline.errors import CloudRefused, SecretUnreadable, UsageError


def vertex(context: Context) -> str:
    """Checks that Vertex AI answers: lists its pipelines over gRPC, as a run does."""
    context.needs("project", "region")
    with without_support_warnings():
        from google.api_core.exceptions import GoogleAPIError, PermissionDenied

    request = {"parent": location(context.config), "page_size": 1}
    try:
        client(context.config, "PipelineService").list_pipeline_jobs(request, timeout=20)
    except PermissionDenied as refused:
        may = grant("projects", context.config.project, context.member, "roles/aiplatform.user")
        raise Missing(refused.message, may) from None
    except GoogleAPIError as refused:
        fix = enable(context.config, ["aiplatform.googleapis.com"])
        raise Missing(getattr(refused, "message", "") or str(refused), fix) from None
    return f"answers in {context.config.region}"


def endpoint(context: Context) -> str:
    """Checks the endpoint, which the first deployment creates."""
    name = context.config.endpoint
    if not name:
        return "not set: models are released, but not deployed"
    context.needs("workspace", "project", "region")
    from pipeline.serving.endpoint import Endpoint

    try:
        vertex(context)
    except Missing as missing:
        raise Unknown("Vertex AI does not answer", missing.fix) from None
    try:
        found = Endpoint(context.config).find()
    except UsageError as several:
        raise Missing(str(several), f"gcloud ai endpoints list --region={context.config.region}") from None
    except CloudRefused as refused:
        may = grant("projects", context.config.project, context.member, "roles/aiplatform.user")
        raise Missing(str(refused), may) from None
    served = found and ", ".join(f"{model} {share} %" for model, share in found.traffic_split.items())
    return f"{name} serves {served or 'nothing yet'}" if found else f"{name} will be created by the first deployment"


def secret(context: Context) -> str:
    """Reads the secret of pipelines without showing it; where the caller may not, checks their account's role."""
    name, reader = context.config.release_token_secret, context.config.service_account
    if not name:
        return "not set: pipelines need none"
    place = on_secret(name)
    try:
        empty = not secrets.read(name)
    except SecretUnreadable as unreadable:
        if _denied(unreadable) and reader != context.caller:
            context.needs("service_account")
            roles(context, reader, [(place, ACCESSOR)])
            return f"{name} is for {reader} to read"
        create = f"gcloud secrets create {place[1]} --data-file=-  # unless it exists"
        raise Missing(str(unreadable), create, grant(place[0], place[1], context.member, ACCESSOR)) from None
    if empty:
        raise Missing(f"{name} is empty", f"gcloud secrets versions add {place[1]} --data-file=-")
    return f"{name} can be read"


ACCESSOR = "roles/secretmanager.secretAccessor"


def _denied(unreadable: SecretUnreadable) -> bool:
    from google.api_core.exceptions import PermissionDenied

    return isinstance(unreadable.__cause__, PermissionDenied)
