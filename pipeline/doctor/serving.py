"""Vertex AI as its own client reaches it, the endpoint, and the secret."""

from pipeline.cloud import secrets
from pipeline.cloud.calls import without_support_warnings
from pipeline.cloud.vertex import client, location
from pipeline.doctor.access import enable, on_secret, roles
from pipeline.doctor.check import Asking, Missing, Unknown, grant
from pipeline.errors import CloudRefused, SecretUnreadable, UsageError


def vertex(asking: Asking) -> str:
    """Asks Vertex AI for its pipelines, over gRPC as a run does."""
    asking.needs("project", "region")
    with without_support_warnings():
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
    from pipeline.serving.endpoint import Endpoint

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
    """Reads the secret that a pipeline would read, and shows nothing of it; or looks whether a pipeline may."""
    name, reader = asking.config.release_token_secret, asking.config.service_account
    if not name:
        return "not set: pipelines need none"
    place = on_secret(name)
    try:
        empty = not secrets.read(name)
    except SecretUnreadable as unreadable:
        if _denied(unreadable) and reader != asking.who:
            asking.needs("service_account")
            roles(asking, reader, [(place, ACCESSOR)])
            return f"{name} is for {reader} to read"
        create = f"gcloud secrets create {place[1]} --data-file=-  # unless it is there"
        raise Missing(str(unreadable), create, grant(place[0], place[1], asking.member, ACCESSOR)) from None
    if empty:
        raise Missing(f"{name} is empty", f"gcloud secrets versions add {place[1]} --data-file=-")
    return f"{name} can be read"


ACCESSOR = "roles/secretmanager.secretAccessor"


def _denied(unreadable: SecretUnreadable) -> bool:
    from google.api_core.exceptions import PermissionDenied

    return isinstance(unreadable.__cause__, PermissionDenied)
