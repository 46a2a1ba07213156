"""Where a client downloads what is published for devices: a folder, a bucket, GitHub or a web server.

Nothing that is read here is trusted: install.py checks it.
"""

import posixpath
from collections.abc import Callable

import requests

from pipeline.errors import ObjectNotFound, SpanloopError
from pipeline.storage.factory import open_storage

# Reads a file by its name, such as devices/digits/channels/stable.json, of at most so many bytes.
Read = Callable[[str, int], bytes]
TIMEOUT = (5, 30)  # seconds: to connect, and between two parts of a response


class Unreachable(Exception):
    """A file of the channel cannot be read; the message says why."""


def open_channel(address: str) -> Read:
    """Returns what reads files of a folder, gs://bucket/prefix, github:owner/name, or a URL of http or https."""
    if address.startswith("github:"):
        return _github(address.removeprefix("github:"))
    if address.startswith(("https://", "http://")):
        return lambda name, most: _download(f"{address.rstrip('/')}/{name}", most)
    storage = open_storage(address)

    def read(name: str, most: int) -> bytes:
        try:
            data = storage.read(name)
        except ObjectNotFound:
            raise Unreachable(f"there is no {storage.address(name)}") from None
        except SpanloopError as error:
            raise Unreachable(str(error)) from None
        return _checked(name, data, most)

    return read


def _github(repository: str) -> Read:
    """Reads files of a public repository's releases, as docs/devices.md names them."""

    def read(name: str, most: int) -> bytes:
        folder, file = posixpath.split(name)
        place = f"https://github.com/{repository}/releases/download/{folder.replace('/', '-')}"
        return _download(f"{place}/{file}", most)

    return read


def _download(url: str, most: int) -> bytes:
    try:
        with requests.get(url, timeout=TIMEOUT, stream=True) as response:
            if not response.ok:
                raise Unreachable(f"{url} answers {response.status_code} {response.reason}")
            data = b""
            for part in response.iter_content(1 << 16):
                data += part
                if len(data) > most:
                    break
    except requests.RequestException as error:
        raise Unreachable(f"{url} cannot be read: {error}") from None
    return _checked(url, data, most)


def _checked(name: str, data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise Unreachable(f"{name} has more than {most:,} bytes")
    return data
