"""Prism: a server that holds each call against GitHub's own description of its API, and answers with its examples.

Neither is of ours: both are npm packages, at the versions that node/package-lock.json names.
"""

import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.containers import CannotRun, cache

HERE = Path(__file__).parent / "node"
# Prism ends when its stdin does: also when the tests are killed.
ENDS_WITH_US = "data:text/javascript,process.stdin.resume().on('end', () => process.exit())"
STARTS_WITHIN = 60  # seconds; it takes two
GITHUB = "node_modules/@octokit/openapi/generated/api.github.com.json"


def installed() -> Path:
    """The folder of the npm packages, which are installed when their lock is new. Raises CannotRun."""
    files = [HERE / "package.json", HERE / "package-lock.json"]
    folder = cache() / "node" / hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    if folder.exists():
        return folder
    if missing := [program for program in ("node", "npm") if not shutil.which(program)]:
        raise CannotRun(f"{' and '.join(missing)} not found: install Node.js 20 or newer, then run this again.")
    print("Installing Prism and GitHub's description of its API, which takes half a minute, once.", file=sys.stderr)
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as name:
        new = Path(name, "packages")
        new.mkdir()
        for file in files:
            shutil.copy(file, new)
        command = ["npm", "ci", "--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=new, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            told = (done.stderr or done.stdout).strip()
            raise CannotRun(
                f"`npm ci` failed: check Node.js (20 or newer) and the network, then run this again.\n{told}"
            )
        for file in (new / GITHUB).parent.iterdir():
            if file != new / GITHUB:
                file.unlink()  # 390 MB about editions that nobody here asks
        with contextlib.suppress(OSError):  # another run was faster
            new.rename(folder)
    return folder


class Verdict(NamedTuple):
    """What Prism says of a call: the status, why it refuses ("" when it does not), and its answer."""

    status: int
    refused: str
    body: bytes


class Prism:
    """A server that is there, at `address`."""

    def __init__(self, port: int):
        self.address, self._port = f"http://127.0.0.1:{port}", port

    def ask(self, verb: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Verdict:
        """Asks with these very bytes."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(verb, target, body or None, dict(headers or {}))
            response = connection.getresponse()
            answer = response.read()
        return Verdict(response.status, _why(response, answer), answer)


def _why(response: http.client.HTTPResponse, answer: bytes) -> str:
    # Prism also tells where GitHub's examples are not as GitHub describes them: location "response".
    violations = json.loads(response.getheader("sl-violations", "[]"))
    found = [violation["message"] for violation in violations if violation["location"][0] == "request"]
    if response.status >= 400 and not found:
        told = json.loads(answer)
        found = [violation["message"] for violation in told.get("validation", ())] or [told["detail"]]
    return "; ".join(found)


@contextlib.contextmanager
def serving(packages: Path, describe: Callable[[str], Mapping[str, Any]], ready: tuple[str, str]) -> Iterator[Prism]:
    """Serves what `describe(address)` returns, from when the call `ready`, verb and path, is answered."""
    port = _free_port()
    prism = Prism(port)
    with tempfile.TemporaryDirectory(prefix="spanloop-prism-") as folder:
        description, log = Path(folder, "github.json"), Path(folder, "prism.log")
        description.write_text(json.dumps(describe(prism.address)))
        # without --errors: then the answer says what is wrong, and not only that something is
        arguments = ["mock", "--host=127.0.0.1", f"--port={port}", description]
        command = ["node", "--import", ENDS_WITH_US, packages / "node_modules/.bin/prism", *arguments]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
        try:
            _wait(prism, ready, process, log)
            yield prism
        finally:
            process.kill()
            process.communicate()


def _free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return asking.getsockname()[1]


def _wait(prism: Prism, call: tuple[str, str], process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            prism.ask(*call)
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise CannotRun(f"Prism does not serve GitHub's description:\n{log.read_text()}") from None
            time.sleep(0.05)
