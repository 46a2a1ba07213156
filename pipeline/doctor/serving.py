"""Vertex AI as its own client reaches it, the endpoint, and the secret."""

from pipeline import secrets
from pipeline.cloud_calls import quietly
from pipeline.doctor.access import enable
from pipeline.doctor.check import Asking, Missing, Unknown, grant
from pipeline.errors import CloudRefused, SecretUnreadable, UsageError
from pipeline.vertex_api import client, location


def vertex(asking: Asking) -> str:
    """Asks Vertex AI for its pipelines, over gRPC as a run does."""
    asking.needs("project", "region")
    with quietly():
        from google.api_core.exceptions import GoogleAPIError, PermissionDenied

    asked = {"parent": location(asking.config), "page_size": 1}
    try:
        client(asking.config, "PipelineService").list_pipeline_jobs(asked, timeout=20)
    except PermissionDenied as refused:
        may = grant("projects", asking.config.project, asking.member, "roles/aiplatform.user")
        raise Missing(refused.message, may) from None
    except GoogleAPIError as refused:
        mend = enable(asking.config, ["aiplatform.googleapis.com"])
        raise Missing(getattr(refused, "message", "") or str(refused), mend) from None
    return f"answers in {asking.config.region}"


def endpoint(asking: Asking) -> str:
    """Looks whether the endpoint is there; if not, the first deployment makes it."""
    name = asking.config.endpoint
    if not name:
        return "not set: models are released, but not deployed"
    asking.needs("workspace", "project", "region")
    from pipeline.endpoint import Endpoint

    try:
        vertex(asking)
    except Missing as missing:
        raise Unknown("Vertex AI has to answer first", missing.mend) from None
    try:
        found = Endpoint(asking.config).find()
    except UsageError as several:
        raise Missing(str(several), f"gcloud ai endpoints list --region={asking.config.region}") from None
    except CloudRefused as refused:
        may = grant("projects", asking.config.project, asking.member, "roles/aiplatform.user")
        raise Missing(str(refused), may) from None
    served = found and ", ".join(f"{model} {share} %" for model, share in found.traffic_split.items())
    return f"{name} serves {served or 'nothing yet'}" if found else f"{name} will be made by the first deployment"


def secret(asking: Asking) -> str:
    """Reads the secret that a pipeline would read, and shows nothing of it."""
    name = asking.config.github_token_secret
    if not name:
        return "not set: pipelines need none"
    _, project, _, secret, *_ = name.split("/")
    try:
        empty = not secrets.read(name)
    except SecretUnreadable as unreadable:
        where = f"{secret} --project={project}"
        raise Missing(
            str(unreadable),
            f"gcloud secrets create {where} --data-file=-  # unless it is there",
            grant("secrets", where, asking.member, "roles/secretmanager.secretAccessor"),
        ) from None
    if empty:
        raise Missing(f"{name} is empty", f"gcloud secrets versions add {secret} --project={project} --data-file=-")
    return f"{name} can be read"
