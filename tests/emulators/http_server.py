"""A minimal HTTP/1.1 server for the services; fast, because servers and clients share the processors."""

import email.utils
import http
import socket
import ssl
import traceback
from collections.abc import Sequence

from grpc import StatusCode

from tests.emulators.gateway import Lost
from tests.emulators.services import Refused, Request, Response, Service

_REASONS = {status.value: status.phrase for status in http.HTTPStatus} | {308: "Resume Incomplete"}
_LARGEST_HEAD = 1 << 16
_QUICKACK = getattr(socket, "TCP_QUICKACK", 0)  # Linux


class _Ended(Exception):
    """The client has closed the connection."""


class _Reader:
    """Buffered reader of a connection."""

    def __init__(self, connection: ssl.SSLSocket | socket.socket):
        self._connection = connection
        self._buffer = bytearray()

    def until(self, end: bytes) -> bytes:
        """Reads up to and including `end`; returns the bytes before it."""
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > _LARGEST_HEAD:
                raise _Ended
            self._more(1 << 16)
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    def exactly(self, size: int) -> bytes:
        if len(self._buffer) < size:
            # A client that sends headers and body separately waits for an acknowledgement, otherwise sent after 40 ms.
            if _QUICKACK:
                self._connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            # Reads into the final buffer, so that a large body is not copied twice.
            body, have = bytearray(size), len(self._buffer)
            body[:have], view = self._buffer, memoryview(body)
            self._buffer.clear()
            while have < size:
                got = self._connection.recv_into(view[have:])
                if not got:
                    raise _Ended
                have += got
            return bytes(body)
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _more(self, size: int) -> None:
        data = self._connection.recv(size)
        if not data:
            raise _Ended
        self._buffer += data


def serve(connection: ssl.SSLSocket | socket.socket, host: str, services: Sequence[Service]) -> None:
    """Answers the requests of one connection until the client closes it; `services` share the host."""
    reader = _Reader(connection)
    try:
        while True:
            try:
                request, keep_open = _read(reader, connection, host)
            except (ValueError, IndexError):
                return  # not HTTP
            response = _answer(request, services)
            connection.sendall(_encoded(request, response, keep_open))
            if not keep_open:
                return
    except (_Ended, Lost, OSError):
        return


def _read(reader: _Reader, connection: socket.socket, host: str) -> tuple[Request, bool]:
    """Reads the next request; also returns whether the connection keep_open open after it."""
    first, *lines = reader.until(b"\r\n\r\n").decode("utf-8", "surrogateescape").lstrip("\r\n").split("\r\n")
    verb, target, version = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if target.startswith(("https://", "http://")):
        target = "/" + target.split("/", 3)[3]
    path, _, query = target.partition("?")
    body = _body(reader, headers)
    keep_open = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(verb, path, query, headers, body, host), keep_open


def _body(reader: _Reader, headers: dict[str, str]) -> bytes:
    # TensorFlow sends "Transfer-Encoding: identity", which means that the body is not encoded.
    if headers.get("transfer-encoding", "identity").lower() == "identity":
        size = int(headers.get("content-length", 0))
        return reader.exactly(size) if size > 0 else b""
    parts = []
    while size := int(reader.until(b"\r\n").split(b";")[0], 16):
        parts.append(reader.exactly(size))
        reader.exactly(2)
    while reader.until(b"\r\n"):
        pass  # trailers
    return b"".join(parts)


def _answer(request: Request, services: Sequence[Service]) -> Response:
    try:
        for service in services:
            if call := service.route(request):
                return service.gateway.perform(service.name, call, request.headers, request.body, request.host)
        return services[0].gateway.unknown(services[0].name, request)
    except Refused as refused:
        return refused.response()
    except Lost:
        raise
    except Exception:
        # A bug in the emulator: UNIMPLEMENTED, because clients do not retry it.
        traceback.print_exc()
        return Refused(StatusCode.UNIMPLEMENTED, traceback.format_exc()).response()


def _encoded(request: Request, response: Response, keep_open: bool) -> bytes:
    status, body, headers = response
    # Every response has a date, because leases use the server's clock.
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}", f"Date: {email.utils.formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status not in (204, 304) and not {"Content-Length", "Transfer-Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    if not keep_open:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
    return head if request.verb == "HEAD" else head + body
