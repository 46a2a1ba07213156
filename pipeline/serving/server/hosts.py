"""The host names that the server answers for.

A page of another site can have its own name resolved to 127.0.0.1, and its scripts then count as of one origin with
this server (DNS rebinding). The browser still sends that name as the header Host.
"""

import functools
import ipaddress
import re

from pipeline.serving.server.protocol import Refusal

_HEADER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::\d*)?")


class Hosts:
    """The names of a server that listens on `bound`, and those that SERVING_HOSTS has."""

    def __init__(self, bound: str, named: str):
        """Any name is accepted where a server listens on more than this machine's loopback, and none is set."""
        self._accepts_any = not named and not _is_loopback(bound)
        self._names = {bound.lower(), *(name.strip().strip("[]").lower() for name in named.split(","))} - {""}
        self._accepts = functools.lru_cache(256)(self._is_accepted)  # clients send the same one again and again

    def check(self, header: str | None) -> None:
        """Raises Refusal for the Host of another server. Only what is no browser sends none."""
        if header is not None and not self._accepts_any and not self._accepts(header):
            # https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request
            raise Refusal(
                421, f"This server does not answer for the host {header[:100]!r}: SERVING_HOSTS names others."
            )

    def _is_accepted(self, header: str) -> bool:
        match = _HEADER.fullmatch(header)
        name = (match[1] or match[2]).lower().rstrip(".") if match else ""
        return bool(name) and (_is_loopback(name) or name in self._names)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
