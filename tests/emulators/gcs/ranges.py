"""Responses with an object's bytes, complete or a range."""

import gzip
import re
from email.utils import formatdate

from tests.emulators.gcs.errors import StorageError
from tests.emulators.gcs.objects import Object
from tests.emulators.services import Request, Response


def download(request: Request, found: Object) -> Response:
    """Returns the bytes that the header `Range` selects; raises StorageError when the range is empty."""
    size, wanted = len(found.data), request.headers.get("range")
    headers = described(found)
    if _is_decompressed(request, found):
        del headers["Content-Encoding"]
        # chunked, because the size is not known in advance, and whole, whatever range is asked for
        headers |= {"Transfer-Encoding": "chunked", "Warning": "214 UploadServer gunzipped"}
        return Response(200, _chunked(gzip.decompress(found.data)), headers)
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


def _is_decompressed(request: Request, found: Object) -> bool:
    """True for an object stored as gzip and a client that does not accept it: "decompressive transcoding".

    https://cloud.google.com/storage/docs/transcoding
    """
    stored = found.properties.get("contentEncoding") == "gzip"
    kept = "no-transform" in found.properties.get("cacheControl", "")
    return stored and not kept and "gzip" not in request.headers.get("accept-encoding", "")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"


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
