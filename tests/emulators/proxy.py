"""A CONNECT proxy that routes the real host names to the local servers and refuses all other hosts.

REST requests are answered on the incoming connection, so that no byte is copied between sockets. gRPC connections are
forwarded to a separate server. The TLS greeting distinguishes them: gRPC clients offer only HTTP/2.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tests.emulators import http_server
from tests.emulators.services import Service


class Host(Protocol):
    """The servers of a host name."""

    services: Sequence[Service]

    def tls(self, connection: socket.socket) -> socket.socket: ...

    def grpc_port(self) -> int: ...


class Proxy:
    """Listens on a loopback port. `find` returns the servers of a host name; None refuses the connection."""

    def __init__(self, find: Callable[[str], Host | None], refused: list[str]):
        self._find = find
        self._refused = refused
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._connections: set[socket.socket] = set()
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._open(connection):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                host, target = self._target(connection)
                if target is None:
                    return
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                if "h2" in (offered := offered_protocols(connection)) and "http/1.1" not in offered:
                    _pump(connection, target.grpc_port())
                    return
                with self._open(target.tls(connection)) as encrypted:
                    http_server.serve(encrypted, host, target.services)
        except OSError:
            return  # the client is gone

    @contextlib.contextmanager
    def _open(self, connection: socket.socket) -> Iterator[socket.socket]:
        """A connection that `close` also closes."""
        with connection:
            self._connections.add(connection)
            try:
                yield connection
            finally:
                self._connections.discard(connection)

    def _target(self, connection: socket.socket) -> tuple[str, Host | None]:
        """Reads the host that a client wants to reach; refuses and records a host without a local server."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                return "", None
            head += data
        verb, _, address = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0].partition(" ")
        host, _, port = address.rpartition(":")
        target = self._find(host) if verb == "CONNECT" and port == "443" else None
        if target is None:
            self._refused.append(address)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return host, target

    def close(self) -> None:
        """Closes all connections."""
        # Without shutdown a thread in accept() keeps the port open.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._connections.copy():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client has closed it


def _pump(client: socket.socket, port: int) -> None:
    """Copies bytes between a client and a port in both directions until either side closes."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = {client: server, server: client}
        while True:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                other[ready].sendall(data)


def offered_protocols(connection: socket.socket) -> list[str]:
    """The application protocols that a client's TLS greeting offers (ALPN), read without consuming it."""
    record = connection.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL)
    if len(record) < 5:
        return []  # the client is gone
    size = 5 + int.from_bytes(record[3:], "big")
    hello = connection.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
    return _protocols(hello)


def _protocols(hello: bytes) -> list[str]:
    """Parses a ClientHello: https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2 and RFC 7301."""
    at = 5 + 4 + 2 + 32  # record, handshake, version, random
    at += 1 + hello[at]  # session
    at += 2 + int.from_bytes(hello[at : at + 2], "big")  # ciphers
    at += 1 + hello[at]  # compression
    at += 2
    while at + 4 <= len(hello):
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        if kind == 16:
            return _strings(hello[at + 6 : at + 4 + size])
        at += 4 + size
    return []


def _strings(data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return found
