"""A certificate authority that only the tests' clients trust: certificates for the real names of Google's hosts."""

import functools
import pathlib
import ssl
import threading
from collections.abc import Iterable

import trustme


@functools.cache
def _authority() -> trustme.CA:
    """One for the process, because gRPC reads its trusted certificates only once."""
    return trustme.CA()


class Authority:
    """Issues the servers' certificates. `certificate` is the file that clients must trust."""

    def __init__(self, folder: pathlib.Path):
        self._authority = _authority()
        self._issuing = threading.Lock()
        self._folder = folder
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(self._authority.cert_pem.bytes())

    def issue(self, hosts: Iterable[str]) -> tuple[bytes, bytes]:
        """Returns a key and its certificates for these hosts; `*-x.y.z` is certified as `*.y.z`."""
        with self._issuing:
            issued = self._authority.issue_cert(*sorted({_certified(host) for host in hosts}))
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return issued.private_key_pem.bytes(), chain

    def context(self, hosts: Iterable[str]) -> ssl.SSLContext:
        """TLS context of an HTTP server for these hosts."""
        key, chain = self.issue(hosts)
        pem = self._folder / f"server-{id(chain)}.pem"
        pem.write_bytes(key + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        pem.unlink()
        context.set_alpn_protocols(["http/1.1"])
        return context


def _certified(host: str) -> str:
    """The name in a certificate: its wildcard must be the whole first part."""
    first, _, rest = host.partition(".")
    return f"*.{rest}" if "*" in first else host
