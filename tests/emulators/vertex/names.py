"""Vertex AI's validation of requests: resource names, regions, labels, filters and pages."""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from grpc import StatusCode

from tests.emulators.services import Caller, Refused

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

Resource = TypeVar("Resource")
LABEL = re.compile(r"[a-z0-9_-]{0,63}")
ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9-]+\.iam\.gserviceaccount\.com")
NETWORK = re.compile(r"projects/\d+/global/networks/[a-z][a-z0-9-]*")
KEY = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
IMAGE = re.compile(r"[a-z0-9.-]+(:\d+)?/[a-z0-9._/-]+(:[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?")
TERM = re.compile(r'\s*([\w.]+)\s*(!=|=|:)\s*(?:"([^"]*)"|([\w-]+))\s*')


def invalid(message: str) -> Refused:
    return Refused(StatusCode.INVALID_ARGUMENT, message)


def missing(name: str) -> Refused:
    return Refused(StatusCode.NOT_FOUND, f"The resource {name} does not exist.")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def is_set(message: Any, field: str) -> bool:
    """True when a message field is set, even if it is empty."""
    return type(message).pb(message).HasField(field)


class Names:
    """Names of resources in the project, in which Vertex AI uses the project's number."""

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud

    def parent(self, parent: str, caller: Caller) -> str:
        """projects/NUMBER/locations/REGION; raises Refused for another project, or a region of another host."""
        match = re.fullmatch(r"projects/([^/]+)/locations/([a-z0-9-]+)", parent)
        if not match:
            raise invalid(f"Invalid resource name: parent {parent!r} is not projects/PROJECT/locations/REGION.")
        project, region = match.groups()
        if caller.host != f"{region}-aiplatform.googleapis.com":
            raise invalid(
                f"List of found errors: 1. Field: parent; The location {region} is not served by {caller.host}."
            )
        if project not in (self._cloud.project, self._cloud.project_number):
            raise Refused(StatusCode.PERMISSION_DENIED, f"Permission denied on resource project {project}.")
        return f"projects/{self._cloud.project_number}/locations/{region}"

    def resource(self, name: str, kind: str, caller: Caller) -> str:
        """The full name of a resource of a kind, such as endpoints; raises Refused."""
        match = re.fullmatch(rf"(projects/[^/]+/locations/[^/]+)/{kind}/([^/]+)", name)
        if not match:
            raise invalid(f"Invalid resource name: {name!r} is not projects/PROJECT/locations/REGION/{kind}/ID.")
        return f"{self.parent(match[1], caller)}/{kind}/{match[2]}"

    def find(self, found: Mapping[str, Resource], name: str, kind: str, caller: Caller) -> Resource:
        """The one of these resources of a kind that has the name; raises Refused where none has."""
        whole = self.resource(name, kind, caller)
        if whole not in found:
            raise missing(name)
        return found[whole]

    def demand(self, caller: Caller, permission: str) -> None:
        """Raises Refused when the caller lacks the permission."""
        self._cloud.policies.demand(caller.principal, f"projects/{self._cloud.project}", f"aiplatform.{permission}")

    def account(self, email: str) -> None:
        """Raises Refused unless `email` is a service account of the project."""
        if not ACCOUNT.fullmatch(email):
            raise invalid(f"Service account {email!r} is not NAME@PROJECT.iam.gserviceaccount.com.")
        if not email.endswith(f"@{self._cloud.project}.iam.gserviceaccount.com"):
            raise Refused(
                StatusCode.PERMISSION_DENIED, f"You do not have permission to act as service_account: {email}"
            )

    def may_act_as(self, email: str, caller: Caller) -> None:
        """Raises Refused unless the caller may run a job as this account; "" is the project's default account."""
        if email:
            self.account(email)
            self._cloud.policies.demand(caller.principal, f"serviceAccounts/{email}", "iam.serviceAccounts.actAs")

    def bucket(self, address: str, what: str) -> str:
        """Validates gs://bucket/prefix; raises Refused when the bucket does not exist."""
        match = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(/.*)?", address)
        if not match:
            raise invalid(f"Invalid {what}: {address!r} is not gs://BUCKET/PREFIX.")
        if match[1] not in self._cloud.gcs.store.buckets:
            raise Refused(StatusCode.NOT_FOUND, f"The specified bucket does not exist: {what} {address!r}.")
        return address.rstrip("/")


def check_id(given: str, pattern: str, what: str) -> None:
    if not re.fullmatch(pattern, given):
        raise invalid(f"Invalid {what}: {given!r} does not match {pattern}.")


def check_display_name(text: str) -> None:
    if not 0 < len(text) <= 128:
        raise invalid("List of found errors: 1. Field: display_name; Message: Required, at most 128 characters.")


def check_labels(labels: Any) -> None:
    """Raises Refused for invalid labels: https://cloud.google.com/vertex-ai/docs/general/labels."""
    if len(labels) > 64:
        raise invalid("At most 64 labels are allowed.")
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not LABEL.fullmatch(value):
            raise invalid(f"Invalid label: {key!r}: {value!r}. Lower-case letters, digits, _ and -, at most 63.")


def check_key(resource: Any, parent: str) -> None:
    """Raises Refused when an encryption key is not in the region."""
    key = resource.encryption_spec.kms_key_name if is_set(resource, "encryption_spec") else None
    if key is not None and (not (match := KEY.fullmatch(key)) or not parent.endswith(f"/{match[1]}")):
        raise invalid(f"Field: encryption_spec.kms_key_name; {key!r} is not a key in {parent}.")


def check_network(network: str) -> None:
    if network and not NETWORK.fullmatch(network):
        raise invalid(f"Invalid network: {network!r} is not projects/NUMBER/global/networks/NAME.")


def check_image(image: str) -> None:
    if not IMAGE.fullmatch(image):
        raise invalid(f"Field: image_uri; {image!r} is not the name of an image in a registry.")


def selected(found: Iterable[Any], request: Any, field: str, response: type, value: Callable | None = None) -> Any:
    """A page of the resources selected by filter, order_by, page_size and page_token."""
    matching = [each for each in found if _fits(each, getattr(request, "filter", ""), value or _value)]
    order = getattr(request, "order_by", "") or "create_time desc"
    for part in reversed(order.split(",")):
        name, _, direction = part.strip().partition(" ")
        if direction not in ("", "asc", "desc"):
            raise invalid(f"Invalid order_by: {order!r}")
        matching.sort(key=lambda each, name=name: _value(each, name), reverse=direction == "desc")
    token, size = request.page_token or "0", request.page_size or 100
    if not token.isdigit() or not 0 < size <= 1000:
        raise invalid("Invalid page_token or page_size.")
    end = int(token) + size
    return response(**{field: matching[int(token) : end], "next_page_token": str(end) if end < len(matching) else ""})


def _fits(each: Any, text: str, value: Callable[[Any, str], Any]) -> bool:
    """True when a resource matches a filter: terms of `name="text"`, joined by AND."""
    for term in re.split(r"\s+AND\s+", text) if text else ():
        match = TERM.fullmatch(term)
        if not match:
            raise invalid(f"Invalid filter: {text!r}")
        name, operator, quoted, bare = match.groups()
        wanted = bare if quoted is None else quoted
        is_so = str(value(each, name)) == wanted or (operator == ":" and wanted == "*" and value(each, name))
        if is_so == (operator == "!="):
            return False
    return True


def _value(each: Any, name: str) -> Any:
    if name.startswith("labels."):
        return each.labels.get(name.removeprefix("labels."), "")
    if name not in type(each).pb(each).DESCRIPTOR.fields_by_name:
        raise invalid(f"Invalid filter or order: {name!r} is not a field.")
    found = getattr(each, name)
    return getattr(found, "name", found)


def masked(target: Any, given: Any, paths: Sequence[str], allowed: Sequence[str]) -> None:
    """Updates the fields in a mask; raises Refused for fields that are not allowed."""
    if not paths:
        raise invalid("update_mask is required.")
    for path in paths:
        if path not in allowed:
            raise invalid(f"Field {path!r} of update_mask cannot be updated.")
    for path in paths:
        setattr(target, path, getattr(given, path))
