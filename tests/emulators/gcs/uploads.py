"""Uploads of the JSON API: in one request, with or without properties, or resumable in parts."""

import dataclasses
import json
import re
import secrets
import threading
from collections.abc import Mapping
from typing import Any

from tests.emulators.gcs.conditions import Conditions
from tests.emulators.gcs.errors import StorageError, bad_request
from tests.emulators.gcs.objects import WRITABLE, Content, Object
from tests.emulators.gcs.resources import OBJECT_FIELDS, check_body
from tests.emulators.gcs.store import Store
from tests.emulators.services import Request, Response

QUANTUM = 256 * 1024  # bytes; an unfinished upload keeps whole multiples


def whole(request: Request, parameters: Mapping[str, str]) -> tuple[str, Content]:
    """Name and content of an upload in one request (`uploadType` media or multipart)."""
    kind = parameters.get("uploadType")
    if kind == "media":
        properties: dict[str, Any] = {}
        content_type, data = request.headers.get("content-type", ""), request.body
    elif kind == "multipart":
        properties, content_type, data = _parts(request)
    else:
        raise bad_request(f"Invalid uploadType {kind!r}.")
    return described(properties, parameters), content_of(data, content_type, properties, request.headers)


def described(properties: dict[str, Any], parameters: Mapping[str, str]) -> str:
    """Name of the uploaded object: a query parameter, or a field of its properties."""
    name = properties.get("name", parameters.get("name", ""))
    if parameters.get("name", name) != name:
        raise bad_request(f"Value '{name}' in content does not agree with value '{parameters['name']}'.")
    return name


def announced_name(request: Request) -> str:
    """Name of the uploaded object as read before validation, for the log and faults."""
    if name := request.parameters().get("name"):
        return name
    match = re.search(rb'"name":\s*("(?:[^"\\]|\\.)*")', request.body[:4096])
    try:
        return json.loads(match.group(1)) if match else ""
    except ValueError:
        return ""


def content_of(data: bytes, content_type: str, properties: dict[str, Any], headers: Mapping[str, str]) -> Content:
    """Uploaded bytes and properties, verified against all checksums in the request."""
    expected = {
        name: properties[field] for name, field in (("md5", "md5Hash"), ("crc32c", "crc32c")) if field in properties
    }
    kept = {name: value for name, value in properties.items() if name in WRITABLE}
    return Content.of(data, properties.get("contentType") or content_type, kept, expected | checksums(headers))


def checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Checksums in the headers X-Goog-Hash and Content-MD5."""
    found = {}
    for part in headers.get("x-goog-hash", "").split(","):
        name, _, value = part.strip().partition("=")
        if name in ("crc32c", "md5"):
            found[name] = value
    if "content-md5" in headers:
        found["md5"] = headers["content-md5"]
    return found


def _parts(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """The two parts of multipart/related: https://cloud.google.com/storage/docs/uploading-objects#rest-upload-objects"""
    # gsutil writes the boundary in single quotes: https://github.com/google/apitools, apitools/base/py/transfer.py
    kind = re.match(r"multipart/\w+;.*boundary=([\"']?)([^\"';]+)\1", request.headers.get("content-type", ""), re.I)
    if not kind:
        raise bad_request("Missing boundary of multipart/related.")
    boundary = b"--" + kind.group(2).strip().encode()
    body = request.body
    end = body.rfind(boundary + b"--")
    first, second = body.find(boundary), body.find(b"\n" + boundary, body.find(boundary))
    if not 0 <= first < second < end:
        raise bad_request("Malformed multipart body.")
    _, described_in = _part(body[first + len(boundary) : second])
    headers, data = _part(body[second + 1 + len(boundary) : end])
    # The line break before the boundary belongs to the boundary.
    data = data[: -2 if data.endswith(b"\r\n") else -1]
    try:
        properties = json.loads(described_in)
    except ValueError:
        raise bad_request("Parse Error: the first part is not JSON.") from None
    return check_body(properties, OBJECT_FIELDS), headers.get("content-type", ""), data


def _part(part: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of one part."""
    head, gap, body = part.partition(b"\r\n\r\n")
    if not gap or b"\n\n" in head:
        head, _, body = part.partition(b"\n\n")
    lines = (line.partition(":") for line in head.decode("latin-1").splitlines() if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}, body


@dataclasses.dataclass
class _Upload:
    """A resumable upload; `made` is set when it is finished."""

    bucket: str
    name: str
    content_type: str
    properties: dict[str, Any]
    conditions: Conditions
    headers: Mapping[str, str]
    total: int | None
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    data: bytearray = dataclasses.field(default_factory=bytearray)
    made: Object | None = None


class Uploads:
    """Resumable uploads: https://cloud.google.com/storage/docs/performing-resumable-uploads"""

    def __init__(self, store: Store):
        self._store = store
        self._uploads: dict[str, _Upload] = {}

    def clear(self) -> None:
        self._uploads.clear()

    def start(self, bucket: str, request: Request, parameters: Mapping[str, str]) -> Response:
        """Starts an upload; the response has the address for its bytes."""
        properties = check_body(request.json(), OBJECT_FIELDS)
        name = described(properties, parameters)
        conditions = Conditions.of(parameters)
        self._store.check_put(bucket, name, conditions)
        total = request.headers.get("x-upload-content-length")
        identity = secrets.token_urlsafe(48)
        self._uploads[identity] = _Upload(
            bucket,
            name,
            request.headers.get("x-upload-content-type", ""),
            properties,
            conditions,
            # of the whole object, also where the bytes arrive without any
            {"x-goog-hash": ",".join(f"{name}={value}" for name, value in checksums(request.headers).items())},
            int(total) if total else None,
        )
        address = f"https://{request.host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={identity}"
        return Response(200, b"", {"Location": address, "X-GUploader-UploadID": identity})

    def take(self, identity: str, request: Request) -> Object | Response:
        """Receives bytes, or a status query: returns the object when it is complete, otherwise a 308."""
        upload = self._find(identity)
        with upload.lock:
            if upload.made:
                return upload.made
            start, total = self._announced(upload, request)
            if start is not None:
                # Skips bytes received before: a client repeats them when the response was lost.
                upload.data += request.body[len(upload.data) - start :]
                if total != len(upload.data):
                    del upload.data[len(upload.data) - len(upload.data) % QUANTUM :]
            # A status query finishes an upload only if all bytes have arrived.
            return self._finish(upload, request) if total == len(upload.data) else _unfinished(upload)

    def _announced(self, upload: _Upload, request: Request) -> tuple[int | None, int | None]:
        """Content-Range as (first byte, None for a status query; total, None when unknown)."""
        text = request.headers.get("content-range")
        if text is None:
            if upload.total not in (None, len(request.body)):
                raise bad_request(f"{upload.total} bytes were announced, {len(request.body)} received.")
            upload.data.clear()
            return 0, len(request.body)
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(?:(\d+)|\*)", text.strip())
        if not match:
            raise bad_request(f"Failed to parse Content-Range header {text!r}.")
        first, last, total = (None if part is None else int(part) for part in match.groups())
        if total is not None:
            if upload.total not in (None, total) or total < len(upload.data):
                raise bad_request(
                    f"Invalid request. The upload has {upload.total or len(upload.data)} bytes, not {total}."
                )
            if first is not None:
                upload.total = total
        if first is None:
            if request.body:
                raise bad_request("A status query has no body.")
            return None, total
        if last - first + 1 != len(request.body) or (total is not None and last >= total):
            raise bad_request(f"Content-Range {text!r} does not fit a body of {len(request.body)} bytes.")
        if first > len(upload.data):
            raise bad_request(f"Bytes {len(upload.data)}-{first - 1} are missing.")
        return first, total

    def _finish(self, upload: _Upload, request: Request) -> Object:
        headers = {**upload.headers, **request.headers}
        content = content_of(bytes(upload.data), upload.content_type, upload.properties, headers)
        upload.made = self._store.put(upload.bucket, upload.name, content, upload.conditions)
        upload.data = bytearray()
        return upload.made

    def cancel(self, identity: str) -> Response:
        self._find(identity)
        del self._uploads[identity]
        raise StorageError(499, "Client Closed Request")

    def target(self, identity: str) -> str:
        """BUCKET/NAME of an upload, for the log."""
        upload = self._uploads.get(identity)
        return f"{upload.bucket}/{upload.name}" if upload else identity

    def _find(self, identity: str) -> _Upload:
        try:
            return self._uploads[identity]
        except KeyError:
            raise StorageError(404, "No such upload: start a new one.", xml_code="NoSuchUpload") from None


def _unfinished(upload: _Upload) -> Response:
    have = len(upload.data)
    return Response(308, b"", {"Range": f"bytes=0-{have - 1}"} if have else {})
