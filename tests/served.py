"""The server of released models as people and Vertex AI run it: in a process of its own, asked by HTTP."""

import base64
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.ci.conftest import environment

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def instance(image: bytes) -> dict[str, str]:
    """An image as an instance of a request."""
    return {"b64": base64.b64encode(image).decode()}


class Served:
    """A context with a running server. `address` is the model's folder; without it RELEASES are served."""

    path = "/v1/models/classification:predict"

    def __init__(self, address: pathlib.Path | str = "", *arguments: str, ready: bool = True, **variables: str):
        self._ready = ready
        storage = {"AIP_STORAGE_URI": str(address)} if address else {}
        self._command = [sys.executable, "-m", "ci", "serve", "--port", "0", *arguments]
        self._variables = environment(**storage, **variables)
        self.lines: list[str] = []

    def __enter__(self) -> "Served":
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.host, self.port = "127.0.0.1", int(self.waited(r"Listening at http://[\d.]+:(\d+)")[1])
        if self._ready:
            self.waited("Serving at ")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def waited(self, pattern: str, seconds: float = 240) -> re.Match:
        """Waits for a line of its log; returns where the pattern matches."""
        until, seen = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            while seen < len(self.lines):
                seen += 1
                if found := re.search(pattern, self.lines[seen - 1]):
                    return found
            if ended and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no line with {pattern!r} in\n" + "\n".join(self.lines))

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its structured lines."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Sends a request on a connection of its own."""
        connection = self.connection()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return answer(connection)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, body: Any, path: str = "", **headers: str) -> Answer:
        """Asks for predictions; `body` is bytes, or becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path or self.path, data, **headers)

    def predict(self, *images: bytes) -> Answer:
        return self.post({"instances": [instance(image) for image in images]})

    def stop(self, seconds: float = 60) -> int:
        """Sends SIGTERM; returns the exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        code = self.process.wait(seconds)
        self._reader.join()
        return code


def answer(connection: http.client.HTTPConnection) -> Answer:
    """Reads the response to the request that was sent last."""
    response = connection.getresponse()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
