"""The JSON API of Cloud Storage: https://cloud.google.com/storage/docs/json_api/v1"""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.emulators.gcs import uploads
from tests.emulators.gcs.access import Access
from tests.emulators.gcs.conditions import PARAMETERS, SOURCE_PARAMETERS, Conditions, number
from tests.emulators.gcs.errors import bad_request, condition_not_met, not_modified
from tests.emulators.gcs.listing import LARGEST_PAGE, Wanted
from tests.emulators.gcs.objects import Object
from tests.emulators.gcs.ranges import download
from tests.emulators.gcs.resources import (
    BUCKET_FIELDS,
    OBJECT_FIELDS,
    bucket_mask,
    check_body,
    list_mask,
    masked,
    object_mask,
    rewrite_mask,
    show_bucket,
    show_object,
)
from tests.emulators.gcs.store import Store, merged
from tests.emulators.services import JSON, Call, Caller, Request, Response

# https://cloud.google.com/storage/docs/json_api/v1/parameters
_COMMON = frozenset("alt fields key prettyPrint quotaUser userIp userProject $.xgafv access_token oauth_token".split())
_CHANGED = frozenset(("ifMetagenerationMatch", "ifMetagenerationNotMatch"))
_PAGED = "delimiter endOffset includeFoldersAsPrefixes includeTrailingDelimiter matchGlob maxResults pageToken prefix"


class Target(NamedTuple):
    """A request with the bucket and object that it addresses."""

    request: Request
    parameters: dict[str, str]
    caller: Caller
    bucket: str = ""
    name: str = ""
    to_bucket: str = ""
    to_name: str = ""


class Method(NamedTuple):
    """A method of the API: its query parameters, and the permissions that a caller needs."""

    name: str
    known: frozenset[str]
    permissions: tuple[str, ...]
    work: Callable[["JsonApi", Target], Response]


class JsonApi:
    """Matches requests to methods and performs them."""

    def __init__(self, store: Store, sent: uploads.Uploads, access: Access, project_number: str):
        self._store = store
        self._uploads = sent
        self._access = access
        self._project_number = project_number

    def route(self, request: Request) -> Call | None:
        """Finds the method of a request; None when the JSON API has none."""
        path = request.path
        # Paths of downloads and uploads have a prefix before those of all other methods.
        front, found, below = path.partition("/storage/v1/b")
        # gsutil starts resumable uploads there: apitools' `resumable_path`, as the discovery document names it
        front = "/upload" if front == "/resumable/upload" else front
        if not found or front not in ("", "/upload", "/download") or below[:1] not in ("", "/"):
            return None
        parts = [urllib.parse.unquote(part) for part in below.split("/")[1:]]
        if front == "/upload":
            return self._upload(request, parts)
        for template, method in _METHODS.get((request.verb, len(parts)), ()):
            if all(place[0] == "{" or place == part for place, part in zip(template, parts, strict=True)):
                names = {place[1:-1]: part for place, part in zip(template, parts, strict=True) if place[0] == "{"}
                if method is _GET and "alt=media" in request.query:
                    method = _DOWNLOAD
                return self._call(method, request, names)
        return None

    def _upload(self, request: Request, parts: list[str]) -> Call | None:
        if parts[1:] != ["o"]:
            return None
        names = {"bucket": parts[0]}
        if "upload_id=" not in request.query:
            made = f"{parts[0]}/{uploads.announced_name(request)}"
            return self._call(_INSERT, request, names, made) if request.verb == "POST" else None
        method = {"PUT": _UPLOAD, "POST": _UPLOAD, "DELETE": _CANCEL}.get(request.verb)
        made = self._uploads.target(request.parameters().get("upload_id", ""))
        return self._call(method, request, names, made) if method else None

    def _call(self, method: Method, request: Request, names: dict[str, str], made: str = "") -> Call:
        bucket, name = names.get("bucket", ""), names.get("name", "")

        def work(caller: Caller) -> Response:
            parameters = request.parameters()
            if unknown := set(parameters) - method.known:
                raise bad_request(f"Invalid query parameter {sorted(unknown)[0]!r}.")
            for permission in method.permissions:
                self._access.check(caller, permission, bucket)
            return method.work(self, Target(request=request, parameters=parameters, caller=caller, **names))

        return Call(method.name, made or (f"{bucket}/{name}" if name else bucket), work)

    def list_buckets(self, target: Target) -> Response:
        if "project" not in target.parameters:
            raise bad_request("Required parameter: project")
        prefix = target.parameters.get("prefix", "")
        found = [
            show_bucket(bucket, self._project_number)
            for name, bucket in sorted(self._store.buckets.items())
            if bucket.project in (target.parameters["project"], "") and name.startswith(prefix)
        ]
        shown = {"kind": "storage#buckets", **({"items": found} if found else {})}
        return _shown(masked(shown, list_mask(target.parameters, BUCKET_FIELDS)))

    def insert_bucket(self, target: Target) -> Response:
        if "project" not in target.parameters:
            raise bad_request("Required parameter: project")
        properties = check_body(target.request.json(), BUCKET_FIELDS)
        made = self._store.create_bucket(properties.pop("name", ""), target.parameters["project"], properties)
        return _shown(show_bucket(made, self._project_number))

    def get_bucket(self, target: Target) -> Response:
        found = self._store.bucket(target.bucket)
        return _shown(masked(show_bucket(found, self._project_number), bucket_mask(target.parameters)))

    def patch_bucket(self, target: Target) -> Response:
        found = self._store.bucket(target.bucket)
        wanted = number(target.parameters, "ifMetagenerationMatch")
        if wanted not in (None, found.metageneration):
            raise condition_not_met()
        found.properties = merged(found.properties, check_body(target.request.json(), BUCKET_FIELDS))
        found.metageneration += 1
        return _shown(masked(show_bucket(found, self._project_number), bucket_mask(target.parameters)))

    def delete_bucket(self, target: Target) -> Response:
        self._store.delete_bucket(target.bucket)
        return Response(204)

    def storage_layout(self, target: Target) -> Response:
        self._store.bucket(target.bucket)
        shown = {"kind": "storage#storageLayout", "bucket": target.bucket, "location": "EUROPE-WEST1"}
        return _shown({**shown, "locationType": "region", "hierarchicalNamespace": {"enabled": False}})

    def test_permissions(self, target: Target) -> Response:
        self._store.bucket(target.bucket)
        requested = [value for name, value in urllib.parse.parse_qsl(target.request.query) if name == "permissions"]
        granted = [name for name in requested if self._access.allows(target.caller.principal, name, target.bucket)]
        shown = {"kind": "storage#testIamPermissionsResponse", **({"permissions": granted} if granted else {})}
        return _shown(shown)

    def list(self, target: Target) -> Response:
        given = target.parameters
        limit = number(given, "maxResults")
        if limit == 0:
            raise bad_request("Invalid value for maxResults: 0")
        wanted = Wanted(
            prefix=given.get("prefix", ""),
            delimiter=given.get("delimiter", ""),
            start=given.get("startOffset", ""),
            end=given.get("endOffset", ""),
            glob=given.get("matchGlob", ""),
            trailing=given.get("includeTrailingDelimiter", "").lower() == "true",
            limit=min(limit or LARGEST_PAGE, LARGEST_PAGE),
            token=given.get("pageToken", ""),
        )
        mask = list_mask(given, OBJECT_FIELDS)
        page, found = self._store.list(target.bucket, wanted, given.get("versions", "").lower() == "true")
        shown: dict[str, Any] = {"kind": "storage#objects"}
        if page.token:
            shown["nextPageToken"] = page.token
        if page.prefixes:
            shown["prefixes"] = page.prefixes
        if found and (mask is None or "items" in mask):
            inside = mask and mask["items"]
            shown["items"] = [show_object(target.bucket, item, inside) for item in found]
        return _shown(shown if mask is None else {name: value for name, value in shown.items() if name in mask})

    def get(self, target: Target) -> Response:
        return _object(target, self._found(target))

    def download(self, target: Target) -> Response:
        return download(target.request, self._found(target))

    def _found(self, target: Target, reading: bool = True) -> Object:
        """The object of a request. ETags: https://cloud.google.com/storage/docs/request-preconditions#etags"""
        generation = number(target.parameters, "generation")
        found = self._store.get(target.bucket, target.name, generation, Conditions.of(target.parameters))
        headers = target.request.headers
        if "if-match" in headers and not _among(found, headers["if-match"]):
            raise condition_not_met()
        if "if-none-match" in headers and _among(found, headers["if-none-match"]):
            raise not_modified() if reading else condition_not_met()
        return found

    def insert(self, target: Target) -> Response:
        if target.parameters.get("uploadType") == "resumable":
            self._check_overwriting(target.caller, target.bucket, uploads.announced_name(target.request))
            return self._uploads.start(target.bucket, target.request, target.parameters)
        name, content = uploads.whole(target.request, target.parameters)
        self._check_overwriting(target.caller, target.bucket, name)
        made = self._store.put(target.bucket, name, content, Conditions.of(target.parameters))
        return _object(target, made)

    def upload(self, target: Target) -> Response:
        done = self._uploads.take(target.parameters["upload_id"], target.request)
        return _object(target, done) if isinstance(done, Object) else done

    def cancel(self, target: Target) -> Response:
        return self._uploads.cancel(target.parameters["upload_id"])

    def patch(self, target: Target) -> Response:
        properties = check_body(target.request.json(), OBJECT_FIELDS)
        generation = number(target.parameters, "generation")
        conditions = Conditions.of(target.parameters)
        self._check_etag(target)
        return _object(target, self._store.patch(target.bucket, target.name, properties, generation, conditions))

    def _check_etag(self, target: Target) -> None:
        if {"if-match", "if-none-match"} & set(target.request.headers):
            self._found(target, reading=False)

    def delete(self, target: Target) -> Response:
        generation = number(target.parameters, "generation")
        self._check_etag(target)
        self._store.delete(target.bucket, target.name, generation, Conditions.of(target.parameters))
        return Response(204)

    def copy(self, target: Target) -> Response:
        made = self._copied(target)
        return _shown(masked(show_object(target.to_bucket, made), object_mask(target.parameters)))

    def rewrite(self, target: Target) -> Response:
        mask = rewrite_mask(target.parameters)
        made = self._copied(target)
        shown = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(len(made.data)),
            "objectSize": str(len(made.data)),
            "done": True,
            "resource": show_object(target.to_bucket, made),
        }
        return _shown(masked(shown, mask))

    def _copied(self, target: Target) -> Object:
        body = target.request.body
        properties = check_body(target.request.json(), OBJECT_FIELDS) if body.strip() not in (b"", b"{}") else None
        self._access.check(target.caller, "storage.objects.create", target.to_bucket)
        self._check_overwriting(target.caller, target.to_bucket, target.to_name)
        return self._store.copy(
            (target.bucket, target.name),
            (target.to_bucket, target.to_name),
            properties,
            number(target.parameters, "sourceGeneration"),
            Conditions.of(target.parameters, "ifSource"),
            _without_source(target.parameters),
        )

    def move(self, target: Target) -> Response:
        self._check_overwriting(target.caller, target.bucket, target.to_name)
        source, conditions = Conditions.of(target.parameters, "ifSource"), _without_source(target.parameters)
        return _object(target, self._store.move(target.bucket, target.name, target.to_name, source, conditions))

    def compose(self, target: Target) -> Response:
        body = check_body(
            target.request.json(), frozenset(("kind", "destination", "sourceObjects", "deleteSourceObjects"))
        )
        parts = [_component(part) for part in body.get("sourceObjects", [])]
        properties = check_body(body.get("destination", {}), OBJECT_FIELDS)
        self._check_overwriting(target.caller, target.bucket, target.name)
        conditions = Conditions.of(target.parameters)
        made = self._store.compose(target.bucket, parts, target.name, properties, conditions)
        if body.get("deleteSourceObjects"):
            for name, generation, _ in parts:
                self._store.delete(target.bucket, name, generation)
        return _object(target, made)

    def _check_overwriting(self, caller: Caller, bucket: str, name: str) -> None:
        """Raises StorageError when the caller would replace an object without permission to delete it."""
        if self._access.limited and self._store.find(bucket, name):
            self._access.check(caller, "storage.objects.delete", bucket)


def _component(part: Any) -> tuple[str, int | None, Conditions]:
    """Name, generation and conditions of one of compose's sources."""
    check_body(part, frozenset(("name", "generation", "objectPreconditions")))
    wanted = check_body(part.get("objectPreconditions", {}), frozenset(("ifGenerationMatch",)))
    properties = {
        name: str(value)
        for name, value in {**wanted, "generation": part.get("generation")}.items()
        if value is not None
    }
    return part.get("name", ""), number(properties, "generation"), Conditions(number(properties, "ifGenerationMatch"))


def _among(found: Object, etags: str) -> bool:
    return etags.strip() == "*" or found.etag in (etag.strip().strip('"') for etag in etags.split(","))


def _without_source(parameters: Mapping[str, str]) -> Conditions:
    return Conditions.of({name: value for name, value in parameters.items() if not name.startswith("ifSource")})


def _object(target: Target, found: Object) -> Response:
    """A response that consists of an object."""
    mask = object_mask(target.parameters)
    shown = show_object(target.bucket, found, mask)
    return Response(200, json.dumps(shown).encode(), {**JSON, "ETag": found.etag})


def _shown(shown: dict[str, Any]) -> Response:
    return Response(200, json.dumps(shown).encode(), JSON)


def _known(*names: str, sets: tuple[frozenset[str], ...] = ()) -> frozenset[str]:
    return _COMMON.union(*(name.split() for name in names), *sets)


def _table(methods: list[tuple[str, str, Method]]) -> dict[tuple[str, int], list[tuple[list[str], Method]]]:
    """Groups methods by verb and number of parts in their path."""
    table: dict[tuple[str, int], list[tuple[list[str], Method]]] = {}
    for verb, path, method in methods:
        parts = path.split("/") if path else []
        table.setdefault((verb, len(parts)), []).append((parts, method))
    return table


_BUCKET = _known("projection generation softDeleted", sets=(_CHANGED,))
_NEW_BUCKET = _known("project projection enableObjectRetention")
_BUCKETS = _known("maxResults pageToken prefix project projection returnPartialSuccess softDeleted")
_LISTED = "storage.objects.list"
_CREATED, _READ = "storage.objects.create", "storage.objects.get"
_INSERT = Method(
    "objects.insert",
    _known("contentEncoding name projection uploadType", sets=(PARAMETERS,)),
    (_CREATED,),
    JsonApi.insert,
)
_UPLOAD = Method("objects.upload", _INSERT.known | {"upload_id"}, (_CREATED,), JsonApi.upload)
_CANCEL = _UPLOAD._replace(name="objects.cancel", work=JsonApi.cancel)
_GET = Method("objects.get", _known("generation projection", sets=(PARAMETERS,)), (_READ,), JsonApi.get)
_DOWNLOAD = _GET._replace(name="objects.download", work=JsonApi.download)
_LIST = Method("objects.list", _known(_PAGED, "projection startOffset versions"), (_LISTED,), JsonApi.list)
_PATCH = Method("objects.patch", _GET.known, (_READ, "storage.objects.update"), JsonApi.patch)
_DELETE = Method("objects.delete", _GET.known, ("storage.objects.delete",), JsonApi.delete)
_COPIES = _known("projection sourceGeneration", sets=(PARAMETERS, SOURCE_PARAMETERS))
_COPY = Method("objects.copy", _COPIES, (_READ,), JsonApi.copy)
_REWRITES = _COPIES | {"maxBytesRewrittenPerCall", "rewriteToken"}
_MOVES = _known("projection", sets=(PARAMETERS, SOURCE_PARAMETERS))
_MOVE = Method("objects.move", _MOVES, (_READ, _CREATED, "storage.objects.delete"), JsonApi.move)
_COMPOSES = _known("ifGenerationMatch ifMetagenerationMatch")
_COMPOSE = Method("objects.compose", _COMPOSES, (_CREATED, _READ), JsonApi.compose)
_METHODS = _table(
    [
        ("GET", "", Method("buckets.list", _BUCKETS, ("storage.buckets.list",), JsonApi.list_buckets)),
        ("POST", "", Method("buckets.insert", _NEW_BUCKET, ("storage.buckets.create",), JsonApi.insert_bucket)),
        ("GET", "{bucket}", Method("buckets.get", _BUCKET, ("storage.buckets.get",), JsonApi.get_bucket)),
        ("PATCH", "{bucket}", Method("buckets.patch", _BUCKET, ("storage.buckets.update",), JsonApi.patch_bucket)),
        ("DELETE", "{bucket}", Method("buckets.delete", _BUCKET, ("storage.buckets.delete",), JsonApi.delete_bucket)),
        (
            "GET",
            "{bucket}/storageLayout",
            Method("buckets.layout", _known("prefix"), (_LISTED,), JsonApi.storage_layout),
        ),
        (
            "GET",
            "{bucket}/iam/testPermissions",
            Method("buckets.testIamPermissions", _known("permissions"), (), JsonApi.test_permissions),
        ),
        ("GET", "{bucket}/o", _LIST),
        ("GET", "{bucket}/o/{name}", _GET),
        ("PATCH", "{bucket}/o/{name}", _PATCH),
        ("DELETE", "{bucket}/o/{name}", _DELETE),
        ("POST", "{bucket}/o/{name}/compose", _COMPOSE),
        ("POST", "{bucket}/o/{name}/copyTo/b/{to_bucket}/o/{to_name}", _COPY),
        (
            "POST",
            "{bucket}/o/{name}/rewriteTo/b/{to_bucket}/o/{to_name}",
            _COPY._replace(name="objects.rewrite", known=_REWRITES, work=JsonApi.rewrite),
        ),
        ("POST", "{bucket}/o/{name}/moveTo/o/{to_name}", _MOVE),
    ]
)
