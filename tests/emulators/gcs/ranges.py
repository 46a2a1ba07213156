"""Responses with an object's bytes, complete or a range."""

import re
from email.utils import formatdate

from tests.emulators.gcs.errors import StorageError
from tests.emulators.gcs.objects import Object
from tests.emulators.services import Request, Response


def download(request: Request, found: Object) -> Response:
    """Returns the bytes that the header `Range` selects; raises StorageError when the range is empty."""
    size, wanted = len(found.data), request.headers.get("range")
    headers = described(found)
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted.replace(" ", "")) if wanted else None
    if not match or match.groups() == ("", ""):
        return Response(200, found.data, headers)  # HTTP ignores an invalid range
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < int(first):
            return Response(200, found.data, headers)
    else:
        start, end = max(size - int(last), 0), size - 1
    if start >= size:
        raise StorageError(416, "Request range not satisfiable", {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(206, found.data[start : end + 1], headers)


def described(found: Object) -> dict[str, str]:
    """Response headers that describe an object."""
    headers = {
        "Content-Type": found.content_type or "application/octet-stream",
        "ETag": found.xml_etag,
        "Last-Modified": http_date(found.updated),
        "X-Goog-Generation": str(found.generation),
        "X-Goog-Metageneration": str(found.metageneration),
        "X-Goog-Hash": found.hashes,
        "X-Goog-Storage-Class": found.properties.get("storageClass", "STANDARD"),
        "X-Goog-Stored-Content-Encoding": found.properties.get("contentEncoding", "identity"),
        "X-Goog-Stored-Content-Length": str(len(found.data)),
        "Accept-Ranges": "bytes",
    }
    for field, name in _HEADERS.items():
        if field in found.properties:
            headers[name] = found.properties[field]
    for name, value in found.properties.get("metadata", {}).items():
        headers[f"X-Goog-Meta-{name}"] = value
    return headers


_HEADERS = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
}


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)
