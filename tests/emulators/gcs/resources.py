"""JSON resources of objects and buckets, limited to the fields that the parameter `fields` selects."""

import functools
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from tests.emulators.gcs.errors import bad_request
from tests.emulators.gcs.objects import Object, timestamp
from tests.emulators.gcs.store import Bucket

_API = "https://www.googleapis.com/storage/v1/b"
Mask = Mapping[str, Any]  # {field: mask of its subfields, or None for all}


@functools.lru_cache(1024)
def _path(bucket: str, name: str) -> str:
    return f"{bucket}/o/{urllib.parse.quote(name, safe='')}"


def _download(bucket: str, found: Object) -> str:
    path = _path(bucket, found.name)
    return f"https://storage.googleapis.com/download/storage/v1/b/{path}?generation={found.generation}&alt=media"


# In Google's order; None values are omitted.
_OBJECT: dict[str, Callable[[str, Object], Any]] = {
    "kind": lambda bucket, found: "storage#object",
    "id": lambda bucket, found: f"{bucket}/{found.name}/{found.generation}",
    "selfLink": lambda bucket, found: f"{_API}/{_path(bucket, found.name)}",
    "mediaLink": _download,
    "name": lambda bucket, found: found.name,
    "bucket": lambda bucket, found: bucket,
    "generation": lambda bucket, found: str(found.generation),
    "metageneration": lambda bucket, found: str(found.metageneration),
    "contentType": lambda bucket, found: found.content_type or None,
    "storageClass": lambda bucket, found: found.properties.get("storageClass", "STANDARD"),
    "size": lambda bucket, found: str(len(found.data)),
    "md5Hash": lambda bucket, found: found.md5,
    "crc32c": lambda bucket, found: found.crc32c,
    "etag": lambda bucket, found: found.etag,
    "timeCreated": lambda bucket, found: timestamp(found.created),
    "updated": lambda bucket, found: timestamp(found.updated),
    "timeStorageClassUpdated": lambda bucket, found: timestamp(found.created),
    "timeFinalized": lambda bucket, found: timestamp(found.created),
    "componentCount": lambda bucket, found: found.components or None,
    "metadata": lambda bucket, found: found.properties.get("metadata") or None,
    "cacheControl": lambda bucket, found: found.properties.get("cacheControl"),
    "contentDisposition": lambda bucket, found: found.properties.get("contentDisposition"),
    "contentEncoding": lambda bucket, found: found.properties.get("contentEncoding"),
    "contentLanguage": lambda bucket, found: found.properties.get("contentLanguage"),
    "customTime": lambda bucket, found: found.properties.get("customTime"),
    "eventBasedHold": lambda bucket, found: found.properties.get("eventBasedHold"),
    "temporaryHold": lambda bucket, found: found.properties.get("temporaryHold"),
}
# Valid fields that the local server's objects do not have.
_RARE = "acl contexts customerEncryption hardDeleteTime kmsKeyName owner restoreToken retention retentionExpirationTime"
OBJECT_FIELDS = frozenset(_OBJECT) | frozenset(f"{_RARE} softDeleteTime timeDeleted".split())
BUCKET_FIELDS = frozenset(
    """acl autoclass billing cors customPlacementConfig defaultEventBasedHold defaultObjectAcl encryption etag
    hierarchicalNamespace iamConfiguration id ipFilter kind labels lifecycle location locationType logging
    metageneration name owner projectNumber retentionPolicy rpo selfLink softDeletePolicy storageClass timeCreated
    updated versioning website satisfiesPZS satisfiesPZI objectRetention generation softDeleteTime
    hardDeleteTime""".split()
)
_LIST_FIELDS = frozenset(("kind", "items", "prefixes", "nextPageToken"))
_REWRITE_FIELDS = frozenset(("kind", "totalBytesRewritten", "objectSize", "done", "rewriteToken", "resource"))


def show_object(bucket: str, found: Object, mask: Mask | None = None) -> dict[str, Any]:
    wanted = _OBJECT.items() if mask is None else [(name, _OBJECT[name]) for name in _OBJECT if name in mask]
    shown = ((name, read(bucket, found)) for name, read in wanted)
    return {name: value for name, value in shown if value is not None}


def show_bucket(found: Bucket, project_number: str) -> dict[str, Any]:
    return {
        "storageClass": "STANDARD",
        "location": "EUROPE-WEST1",
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        **found.properties,
        "kind": "storage#bucket",
        "id": found.name,
        "name": found.name,
        "selfLink": f"{_API}/{found.name}",
        "projectNumber": project_number,
        "metageneration": str(found.metageneration),
        "etag": f"CAE{found.metageneration}=",
        "timeCreated": timestamp(found.created),
        "updated": timestamp(found.updated),
        "locationType": "region",
    }


def object_mask(parameters: Mapping[str, str]) -> Mask | None:
    """The mask that `fields` selects from an object; None for all fields."""
    return _checked(parameters, OBJECT_FIELDS)


def bucket_mask(parameters: Mapping[str, str]) -> Mask | None:
    return _checked(parameters, BUCKET_FIELDS)


def list_mask(parameters: Mapping[str, str], inside: frozenset[str]) -> Mask | None:
    """The mask that `fields` selects from a list whose items have the fields `inside`."""
    return _checked(parameters, _LIST_FIELDS, "items", inside)


def rewrite_mask(parameters: Mapping[str, str]) -> Mask | None:
    return _checked(parameters, _REWRITE_FIELDS, "resource", OBJECT_FIELDS)


def masked(shown: dict[str, Any], mask: Mask | None) -> dict[str, Any]:
    """The fields of a response that its mask selects."""
    if mask is None:
        return shown
    return {name: _inside(value, mask[name]) for name, value in shown.items() if name in mask}


def _inside(value: Any, mask: Mask | None) -> Any:
    if mask is None:
        return value
    return [masked(item, mask) for item in value] if isinstance(value, list) else masked(value, mask)


def check_body(body: Any, known: frozenset[str]) -> dict[str, Any]:
    """Returns a JSON body; raises StorageError unless it is an object with known fields."""
    if not isinstance(body, dict):
        raise bad_request("Parse Error: a JSON object is expected.")
    if unknown := sorted(set(body) - known):
        raise bad_request(f"Invalid JSON payload received. Unknown name {json.dumps(unknown[0])}: Cannot find field.")
    return body


def _checked(
    parameters: Mapping[str, str], known: frozenset[str], nested: str = "", inside: frozenset[str] = frozenset()
) -> Mask | None:
    text = parameters.get("fields")
    if not text:
        return None
    mask = _mask(text)
    if "*" in mask:
        return None
    wrong = set(mask) - known
    if nested and mask.get(nested):
        if "*" in mask[nested]:
            mask = {**mask, nested: None}
        else:
            wrong |= set(mask[nested]) - inside
    if wrong:
        raise bad_request(f"Invalid field selection {sorted(wrong)[0]}")
    return mask


@functools.lru_cache(256)
def _mask(text: str) -> Mask:
    """Parses `items(name,owner/entity),nextPageToken` to {"items": {"name": None, "owner": {"entity": None}}, ...}."""
    parts = re.findall(r"[\w*.-]+|[(),/]", text)
    if "".join(parts) != text.replace(" ", ""):
        raise bad_request(f"Invalid field selection {text}")
    mask, at = _read_mask(parts, 0)
    if at != len(parts):
        raise bad_request(f"Invalid field selection {text}")
    return mask


def _read_mask(parts: list[str], at: int) -> tuple[dict[str, Any], int]:
    mask: dict[str, Any] = {}
    while True:
        mask_here, name = mask, _part(parts, at)
        at += 1
        while _part(parts, at, "") == "/":
            below = mask_here.setdefault(name, {})
            mask_here, name = ({} if below is None else below), _part(parts, at + 1)
            at += 2
        if _part(parts, at, "") == "(":
            mask_here[name], at = _read_mask(parts, at + 1)
            if _part(parts, at, "") != ")":
                raise bad_request("Invalid field selection: a bracket is not closed.")
            at += 1
        else:
            mask_here[name] = None
        if _part(parts, at, "") != ",":
            return mask, at
        at += 1


def _part(parts: list[str], at: int, default: str | None = None) -> str:
    found = parts[at] if at < len(parts) else default
    if found is None or (default is None and found in "(),/"):
        raise bad_request("Invalid field selection")
    return found
