"""Batch requests, several calls in one: https://cloud.google.com/storage/docs/batch"""

import re
from collections.abc import Callable, Iterator, Mapping

from tests.emulators.gcs.errors import bad_request
from tests.emulators.services import Refused, Request, Response

PATH = "/batch/storage/v1"
MOST_CALLS = 100
_BOUNDARY = "batch_spanloop"


def answer(request: Request, perform: Callable[[Request], Response]) -> Response:
    """Performs the calls of a batch one after another; a refused call does not affect the others."""
    parts = list(_calls(request))
    if not parts or len(parts) > MOST_CALLS:
        raise bad_request(f"A batch has 1 to {MOST_CALLS} calls, not {len(parts)}.")
    lines = [part for identity, call in parts for part in _answered(identity, call, perform)]
    body = b"".join([*lines, f"--{_BOUNDARY}--\r\n".encode()])
    return Response(200, body, {"Content-Type": f"multipart/mixed; boundary={_BOUNDARY}"})


def _answered(identity: str, call: Request, perform: Callable[[Request], Response]) -> Iterator[bytes]:
    try:
        response = perform(call)
    except Refused as refused:
        response = refused.response()
    content_id = f"Content-ID: <response-{identity.strip('<>')}>\r\n" if identity else ""
    yield f"--{_BOUNDARY}\r\nContent-Type: application/http\r\n{content_id}\r\n".encode()
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    yield f"HTTP/1.1 {response.status} {_word(response.status)}\r\n{lines}\r\n".encode() + response.body + b"\r\n"


def _word(status: int) -> str:
    return "OK" if status < 300 else "Refused"


def _calls(request: Request) -> Iterator[tuple[str, Request]]:
    """Yields the calls of a batch with their Content-ID; a call inherits the headers of the whole request."""
    kind = re.match(r"multipart/mixed;.*boundary=(\"?)([^\";]+)\1", request.headers.get("content-type", ""), re.I)
    if not kind:
        raise bad_request("A batch is multipart/mixed with a boundary.")
    outer = {name: value for name, value in request.headers.items() if not name.startswith("content-")}
    body = request.body.replace(b"\r\n", b"\n")
    for part in body.split(b"--" + kind.group(2).encode())[1:-1]:
        head, _, call = part.lstrip(b"\n").partition(b"\n\n")
        described = _headers(head)
        if described.get("content-type", "").split(";")[0].lower() != "application/http":
            raise bad_request("A part of a batch must be application/http.")
        yield described.get("content-id", ""), _call(call, outer, request.host)


def _call(text: bytes, outer: Mapping[str, str], host: str) -> Request:
    head, _, body = text.partition(b"\n\n")
    first, _, headers = head.partition(b"\n")
    try:
        verb, address, *_ = first.decode().split(" ")
    except ValueError:
        raise bad_request(f"Malformed call in a batch: {first!r}") from None
    address = re.sub(r"^https?://[^/]+", "", address)
    path, _, query = address.partition("?")
    return Request(verb, path, query, {**outer, **_headers(headers)}, body.rstrip(b"\n"), host)


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\n") if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}
