"""The XML API of Cloud Storage, used by obstore and TensorFlow: https://cloud.google.com/storage/docs/xml-api"""

import re
import secrets
import urllib.parse
from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.emulators.gcs import uploads
from tests.emulators.gcs.access import Access
from tests.emulators.gcs.conditions import NONE, Conditions, number
from tests.emulators.gcs.errors import (
    StorageError,
    bad_request,
    condition_not_met,
    no_bucket,
    not_modified,
    xml_response,
)
from tests.emulators.gcs.listing import LARGEST_PAGE, Wanted
from tests.emulators.gcs.objects import Content, Object, check_object_name, timestamp
from tests.emulators.gcs.ranges import described, download
from tests.emulators.gcs.store import Store
from tests.emulators.services import Call, Caller, Request, Response

SMALLEST_PART = 5 * 1024 * 1024  # bytes; of all parts of a multipart upload but the last
MOST_PARTS = 10_000
_CONDITIONS = {
    "x-goog-if-generation-match": "ifGenerationMatch",
    "x-goog-if-metageneration-match": "ifMetagenerationMatch",
}
_PROPERTY_HEADERS = {
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "x-goog-storage-class": "storageClass",
}


class Target(NamedTuple):
    """A request with the bucket and object that it addresses."""

    bucket: str
    name: str
    request: Request
    parameters: dict[str, str]
    caller: Caller


class Method(NamedTuple):
    """A method of the API: its query parameters, and the permission that a caller needs."""

    name: str
    known: frozenset[str]
    permission: str
    work: Callable[["XmlApi", Target], Response]


class _Multipart(NamedTuple):
    """A multipart upload: its parts by number."""

    bucket: str
    name: str
    headers: Mapping[str, str]
    parts: dict[int, tuple[bytes, str]]


class XmlApi:
    """Matches requests to methods and performs them."""

    def __init__(self, store: Store, access: Access):
        self._store = store
        self._access = access
        self._uploads: dict[str, _Multipart] = {}

    def clear(self) -> None:
        self._uploads.clear()

    def route(self, request: Request) -> Call | None:
        bucket, _, name = (urllib.parse.unquote(part) for part in request.path[1:].partition("/"))
        parameters = request.parameters()
        method = _object_method(request, parameters) if name else _BUCKET_METHODS.get(request.verb)
        if not bucket or method is None:
            return None

        def work(caller: Caller) -> Response:
            try:
                if unknown := set(parameters) - method.known:
                    raise bad_request(f"Invalid query parameter {sorted(unknown)[0]!r}.")
                self._access.check(caller, method.permission, bucket)
                return method.work(self, Target(bucket, name, request, parameters, caller))
            except StorageError as error:
                return error.xml()

        return Call(method.name, f"{bucket}/{name}" if name else bucket, work)

    def list(self, target: Target) -> Response:
        """Lists objects (ListObjectsV2)."""
        given = target.parameters
        if given.get("list-type") != "2":
            raise bad_request("Only list-type=2 is supported.")
        limit = number(given, "max-keys")
        wanted = Wanted(
            prefix=given.get("prefix", ""),
            delimiter=given.get("delimiter", ""),
            after=given.get("start-after", ""),
            limit=LARGEST_PAGE if limit is None else min(limit, LARGEST_PAGE),
            token=given.get("continuation-token", ""),
        )
        page, found = self._store.list(target.bucket, wanted)
        url = given.get("encoding-type") == "url"
        show = urllib.parse.quote if url else escape
        items = "".join(_listed(item, show(item.name)) for item in found)
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{show(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes
        )
        more = f"<NextContinuationToken>{page.token}</NextContinuationToken>" if page.token else ""
        return xml_response(
            "<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
            f"<Name>{target.bucket}</Name><Prefix>{show(wanted.prefix)}</Prefix>"
            f"<KeyCount>{len(found) + len(page.prefixes)}</KeyCount>"
            f"<IsTruncated>{str(bool(page.token)).lower()}</IsTruncated>{more}{items}{prefixes}</ListBucketResult>"
        )

    def head_bucket(self, target: Target) -> Response:
        self._store.bucket(target.bucket)
        return Response(200)

    def get(self, target: Target) -> Response:
        found = self._found(target)
        try:
            return download(target.request, found)
        except StorageError as error:
            return error.xml()

    def head(self, target: Target) -> Response:
        found = self._found(target)
        return Response(200, b"", {**described(found), "Content-Length": str(len(found.data))})

    def _found(self, target: Target) -> Object:
        generation, headers = number(target.parameters, "generation"), target.request.headers
        found = self._store.get(target.bucket, target.name, generation, _conditions(headers))
        if "if-match" in headers and not _among(found, headers["if-match"]):
            raise condition_not_met()
        if "if-none-match" in headers and _among(found, headers["if-none-match"]):
            raise not_modified()
        return found

    def put(self, target: Target) -> Response:
        headers = target.request.headers
        self._check_overwriting(target)
        conditions = _conditions(headers)
        if "x-goog-copy-source" in headers:
            return self._copy(target, headers["x-goog-copy-source"], conditions)
        content = uploads.content_of(
            target.request.body, headers.get("content-type", ""), _properties(headers), headers
        )
        made = self._store.put(target.bucket, target.name, content, conditions)
        return Response(200, b"", _made(made))

    def _copy(self, target: Target, address: str, conditions: Conditions) -> Response:
        bucket, _, name = urllib.parse.unquote(address).removeprefix("/").partition("/")
        headers, replaces = target.request.headers, target.request.headers.get("x-goog-metadata-directive") == "REPLACE"
        properties = {**_properties(headers), "contentType": headers.get("content-type", "")} if replaces else None
        source = Conditions(
            number(headers, "x-goog-copy-source-if-generation-match"),
            metageneration=number(headers, "x-goog-copy-source-if-metageneration-match"),
        )
        self._access.check(target.caller, "storage.objects.get", bucket)
        generation = number(headers, "x-goog-copy-source-generation")
        made = self._store.copy(
            (bucket, name), (target.bucket, target.name), properties, generation, source, conditions
        )
        fields = f"<LastModified>{timestamp(made.updated)}</LastModified><ETag>{escape(made.xml_etag)}</ETag>"
        return xml_response(f"<CopyObjectResult>{fields}</CopyObjectResult>", headers=_made(made))

    def delete(self, target: Target) -> Response:
        generation = number(target.parameters, "generation")
        self._store.delete(target.bucket, target.name, generation, _conditions(target.request.headers))
        return Response(204)

    def initiate(self, target: Target) -> Response:
        check_object_name(target.name)
        self._store.bucket(target.bucket)
        if _conditions(target.request.headers) is not NONE:
            raise bad_request("A multipart upload has no preconditions.")
        identity = secrets.token_urlsafe(24)
        self._uploads[identity] = _Multipart(target.bucket, target.name, target.request.headers, {})
        return xml_response(
            "<InitiateMultipartUploadResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
            f"<Bucket>{target.bucket}</Bucket><Key>{escape(target.name)}</Key><UploadId>{identity}</UploadId>"
            "</InitiateMultipartUploadResult>"
        )

    def part(self, target: Target) -> Response:
        upload = self._multipart(target)
        place = number(target.parameters, "partNumber")
        if not 1 <= place <= MOST_PARTS:
            raise bad_request(f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive.")
        content = Content.of(target.request.body, expected=uploads.checksums(target.request.headers))
        etag = f'"{content.md5}"'
        upload.parts[place] = (content.data, etag)
        return Response(200, b"", {"ETag": etag, "X-Goog-Hash": f"crc32c={content.crc32c},md5={content.md5}"})

    def complete(self, target: Target) -> Response:
        upload = self._multipart(target)
        if _conditions(target.request.headers) is not NONE:
            raise bad_request("A multipart upload has no preconditions.")
        chosen = [_listed_part(upload, place, etag) for place, etag in _listed_parts(target.request.body)]
        if any(len(part) < SMALLEST_PART for part in chosen[:-1]):
            message = "Your proposed upload is smaller than the minimum object size specified."
            raise StorageError(400, message, xml_code="EntityTooSmall")
        self._check_overwriting(target)
        headers = upload.headers
        # Like a composed object it has no MD5.
        content = Content.of(
            b"".join(chosen), headers.get("content-type", ""), _properties(headers), components=len(chosen)
        )
        content.components = 0
        made = self._store.put(target.bucket, target.name, content)
        del self._uploads[target.parameters["uploadId"]]
        return xml_response(
            "<CompleteMultipartUploadResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
            f"<Location>http://storage.googleapis.com/{target.bucket}/{escape(urllib.parse.quote(target.name))}</Location>"
            f"<Bucket>{target.bucket}</Bucket><Key>{escape(target.name)}</Key><ETag>{escape(made.xml_etag)}</ETag>"
            "</CompleteMultipartUploadResult>",
            headers={name: value for name, value in _made(made).items() if name != "ETag"},
        )

    def abort(self, target: Target) -> Response:
        self._multipart(target)
        del self._uploads[target.parameters["uploadId"]]
        return Response(204)

    def _multipart(self, target: Target) -> _Multipart:
        upload = self._uploads.get(target.parameters["uploadId"])
        if upload is None or (upload.bucket, upload.name) != (target.bucket, target.name):
            raise StorageError(404, "The specified upload does not exist.", xml_code="NoSuchUpload")
        return upload

    def _check_overwriting(self, target: Target) -> None:
        """Raises StorageError when the caller would replace an object without permission to delete it."""
        if target.bucket not in self._store.buckets:
            raise no_bucket()
        if self._access.limited and self._store.find(target.bucket, target.name):
            self._access.check(target.caller, "storage.objects.delete", target.bucket)


def _object_method(request: Request, parameters: Mapping[str, str]) -> Method | None:
    if "uploadId" in parameters:
        return {"PUT": _PART, "POST": _COMPLETE, "DELETE": _ABORT}.get(request.verb)
    if "uploads" in parameters:
        return _INITIATE if request.verb == "POST" else None
    return _OBJECT_METHODS.get(request.verb)


def _conditions(headers: Mapping[str, str]) -> Conditions:
    given = {name: headers[header] for header, name in _CONDITIONS.items() if header in headers}
    return Conditions.of(given)


def _properties(headers: Mapping[str, str]) -> dict[str, object]:
    """An object's properties in request headers."""
    properties: dict[str, object] = {
        field: headers[name] for name, field in _PROPERTY_HEADERS.items() if name in headers
    }
    own = {
        name.removeprefix("x-goog-meta-"): value for name, value in headers.items() if name.startswith("x-goog-meta-")
    }
    return properties | ({"metadata": own} if own else {})


def _made(made: Object) -> dict[str, str]:
    return {
        "ETag": made.xml_etag,
        "X-Goog-Generation": str(made.generation),
        "X-Goog-Metageneration": str(made.metageneration),
        "X-Goog-Hash": made.hashes,
        "X-Goog-Stored-Content-Length": str(len(made.data)),
    }


def _among(found: Object, etags: str) -> bool:
    return etags.strip() == "*" or found.xml_etag in (etag.strip() for etag in etags.split(","))


def _listed(found: Object, name: str) -> str:
    return (
        f"<Contents><Key>{name}</Key><Generation>{found.generation}</Generation>"
        f"<MetaGeneration>{found.metageneration}</MetaGeneration><LastModified>{timestamp(found.updated)}</LastModified>"
        f"<ETag>{escape(found.xml_etag)}</ETag><Size>{len(found.data)}</Size></Contents>"
    )


def _listed_parts(body: bytes) -> list[tuple[int, str]]:
    """The parts of an upload as listed by the client, in order, with their ETags."""
    try:
        tree = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise StorageError(400, f"The XML you provided was not well-formed: {error}", xml_code="MalformedXML") from None
    parts = []
    for part in tree:
        fields = {re.sub(r"^\{.*\}", "", field.tag): (field.text or "").strip() for field in part}
        parts.append((int(fields.get("PartNumber") or 0), fields.get("ETag", "")))
    if not parts or [place for place, _ in parts] != sorted({place for place, _ in parts}):
        raise StorageError(400, "The list of parts was not in ascending order.", xml_code="InvalidPartOrder")
    return parts


def _listed_part(upload: _Multipart, place: int, etag: str) -> bytes:
    data, known = upload.parts.get(place, (b"", ""))
    if not known or etag.strip('"') != known.strip('"'):
        raise StorageError(400, f"Part {place} could not be found, or its ETag differs.", xml_code="InvalidPart")
    return data


_LIST = Method(
    "xml.list",
    frozenset("list-type prefix delimiter start-after max-keys continuation-token encoding-type fetch-owner".split()),
    "storage.objects.list",
    XmlApi.list,
)
_ONE = frozenset(("generation",))
_UPLOAD = frozenset(("uploadId", "partNumber"))
_INITIATE = Method("xml.initiate", frozenset(("uploads",)), "storage.objects.create", XmlApi.initiate)
_PART = Method("xml.part", _UPLOAD, "storage.objects.create", XmlApi.part)
_COMPLETE = Method("xml.complete", _UPLOAD, "storage.objects.create", XmlApi.complete)
_ABORT = Method("xml.abort", _UPLOAD, "storage.multipartUploads.abort", XmlApi.abort)
_BUCKET_METHODS = {
    "GET": _LIST,
    "HEAD": Method("xml.headBucket", frozenset(), "storage.objects.list", XmlApi.head_bucket),
}
_OBJECT_METHODS = {
    "GET": Method("xml.get", _ONE, "storage.objects.get", XmlApi.get),
    "HEAD": Method("xml.head", _ONE, "storage.objects.get", XmlApi.head),
    "PUT": Method("xml.put", frozenset(), "storage.objects.create", XmlApi.put),
    "DELETE": Method("xml.delete", _ONE, "storage.objects.delete", XmlApi.delete),
}
