"""Docker's part of Cloud Build, done by podman: builds with this machine's network, pushes to a loopback registry."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

from tests import containers
from tests.emulators.cloud_build import Runner
from tests.emulators.docker_file import BuildError


class Podman(Runner):
    """Runs podman with storage of its own, where names of `host` are images of the registry at `registry`.

    `network` is the file of the network namespace that packages are installed from.
    """

    def __init__(self, settings: dict[str, str], host: str, registry: str, network: str, folder: pathlib.Path):
        places = folder / "registries.conf"
        places.write_text(f'[[registry]]\nprefix = "{host}"\nlocation = "{registry}"\ninsecure = true\n')
        self.environment = _without_cloud() | settings | {"CONTAINERS_REGISTRIES_CONF": str(places)}
        self._network = network
        self._log = (folder / "podman.log").open("ab")
        self.log = folder / "podman.log"

    def step(self, args: list[str], environment: list[str], context: pathlib.Path) -> None:
        command, *options = args
        if command == "build":
            # of BuildKit; podman keeps its layers itself
            options = [option for option in options if not option.startswith("--cache-from=")]
            mounts = [f"--volume={ours}:{theirs}:ro" for ours, theirs in containers.settings_of_installing().items()]
            options = ["--layers", "--pull=never", "--network=host", "--isolation=chroot", *mounts, *options]
            self._run(["nsenter", f"--net={self._network}", "podman", "build", *options], environment, context)
        else:
            self._run(["podman", command, *options], environment, context)

    def push(self, image: str) -> str:
        with tempfile.NamedTemporaryFile("r") as digest:
            self._run(["podman", "push", "--quiet", f"--digestfile={digest.name}", image], [], pathlib.Path("/"))
            return digest.read().strip()

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Runs podman and returns how it ended and what it printed."""
        return subprocess.run(["podman", *command], env=self.environment, capture_output=True, text=True)

    def _run(self, command: list[str], environment: list[str], folder: pathlib.Path) -> None:
        variables = self.environment | dict(variable.partition("=")[::2] for variable in environment)
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        what = " ".join(word for word in command if not word.startswith("-"))
        print(f"image: {what}: {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            last = self.log.read_text(errors="replace").strip().splitlines()[-5:]
            raise BuildError(f"{what} ended with {done.returncode}: {' '.join(last)} (all of it: {self.log})")


def _without_cloud() -> dict[str, str]:
    """This process's environment; the local servers' names for themselves are not in it."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@contextlib.contextmanager
def registry(folder: pathlib.Path) -> Iterator[str]:
    """Runs a registry of images on loopback, empty at first; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]  # noqa: UP031
    images, config = folder / "registry", folder / "registry.yml"
    shutil.rmtree(images, ignore_errors=True)
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {images}}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with (folder / "registry.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(address.split(":")):
                break
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(images, ignore_errors=True)
