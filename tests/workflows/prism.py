"""Prism: a server that validates calls against GitHub's OpenAPI description and responds with its examples.

Both are npm packages, at the versions in node/package-lock.json.
"""

import contextlib
import hashlib
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.containers import CannotRun, cache
from tests.ports import free_port

HERE = Path(__file__).parent / "node"
# Prism exits at the end of its stdin, also when the tests are killed.
EXIT_WITH_TESTS = "data:text/javascript,process.stdin.resume().on('end', () => process.exit())"
STARTS_WITHIN = 60  # seconds; usually two
GITHUB = "node_modules/@octokit/openapi/generated/api.github.com.json"


def installed() -> Path:
    """The folder of the npm packages; installs them when the lock has changed. Raises CannotRun."""
    files = [HERE / "package.json", HERE / "package-lock.json"]
    folder = cache() / "node" / hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    if folder.exists():
        return folder
    if missing := [program for program in ("node", "npm") if not shutil.which(program)]:
        raise CannotRun(f"{' and '.join(missing)} not found: install Node.js 20 or newer, then run this again.")
    print("Installing Prism and GitHub's API description (half a minute, once).", file=sys.stderr)
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as name:
        new = Path(name, "packages")
        new.mkdir()
        for file in files:
            shutil.copy(file, new)
        command = ["npm", "ci", "--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=new, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            output = (done.stderr or done.stdout).strip()
            raise CannotRun(
                f"`npm ci` failed: check Node.js (20 or newer) and the network, then run this again.\n{output}"
            )
        for file in (new / GITHUB).parent.iterdir():
            if file != new / GITHUB:
                file.unlink()  # 390 MB for other editions of GitHub
        with contextlib.suppress(OSError):  # another run has installed it meanwhile
            new.rename(folder)
    return folder


class Reply(NamedTuple):
    """Prism's response to a call: HTTP status, reason of a refusal ("" if accepted), and body."""

    status: int
    refused: str
    body: bytes


class Prism:
    """A client of the server at `address`."""

    def __init__(self, port: int):
        self.address, self._port = f"http://127.0.0.1:{port}", port

    def call(self, verb: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Sends a request with exactly these bytes."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(verb, target, body or None, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        return Reply(response.status, _reason(response, content), content)


def _reason(response: http.client.HTTPResponse, content: bytes) -> str:
    # Prism also reports examples of GitHub that violate its own description: location "response".
    violations = json.loads(response.getheader("sl-violations", "[]"))
    found = [violation["message"] for violation in violations if violation["location"][0] == "request"]
    if response.status >= 400 and not found:
        error = json.loads(content)
        found = [violation["message"] for violation in error.get("validation", ())] or [error["detail"]]
    return "; ".join(found)


@contextlib.contextmanager
def serving(packages: Path, describe: Callable[[str], Mapping[str, Any]], ready: tuple[str, str]) -> Iterator[Prism]:
    """Serves the description `describe(address)`; yields when the call `ready` (verb, path) gets a response."""
    port = free_port()
    prism = Prism(port)
    with tempfile.TemporaryDirectory(prefix="spanloop-prism-") as folder:
        description, log = Path(folder, "github.json"), Path(folder, "prism.log")
        description.write_text(json.dumps(describe(prism.address)))
        # without --errors, because only then the response has the reason
        arguments = ["mock", "--host=127.0.0.1", f"--port={port}", description]
        command = ["node", "--import", EXIT_WITH_TESTS, packages / "node_modules/.bin/prism", *arguments]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
        try:
            _wait(prism, ready, process, log)
            yield prism
        finally:
            process.kill()
            process.communicate()


def _wait(prism: Prism, call: tuple[str, str], process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            prism.call(*call)
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise CannotRun(f"Prism does not serve GitHub's description:\n{log.read_text()}") from None
            time.sleep(0.05)
