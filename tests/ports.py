"""Ports for servers that cannot choose one themselves."""

import contextlib
import random
import socket


def free_port() -> int:
    """Returns a port of 127.0.0.1 that is free.

    It is below those that Linux chooses for connections and for servers without a port of their own, so that none of
    them takes it before the server starts: https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range).
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(15_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port of 127.0.0.1 is free")
