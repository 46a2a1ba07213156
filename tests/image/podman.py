"""Docker steps of Cloud Build performed by podman: builds with this machine's network, pushes to a local registry."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator

from tests import containers
from tests.emulators.cloud_build import Runner
from tests.emulators.docker_file import BuildError
from tests.emulators.vertex.processes import Containers, NoSuchImage
from tests.ports import free_port

# Options of every container: a root that cannot be written, no privileges.
CONFINED = ["--read-only", "--tmpfs=/tmp:mode=1777", "--cap-drop=all", "--security-opt=no-new-privileges"]
CONFINED += ["--http-proxy=false"]


class Podman(Runner):
    """Runs podman with isolated storage; maps image names of `host` to the registry at `registry`.

    `network` is the file of the network namespace in which packages are installed.
    """

    def __init__(self, settings: dict[str, str], host: str, registry: str, network: str, folder: pathlib.Path):
        places = folder / "registries.conf"
        places.write_text(f'[[registry]]\nprefix = "{host}"\nlocation = "{registry}"\ninsecure = true\n')
        self.environment = os.environ | settings | {"CONTAINERS_REGISTRIES_CONF": str(places)}
        for name in (
            "NO_PROXY",
            "no_proxy",
        ):  # this machine may use a proxy for packages, but not for the local registry
            self.environment[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
        self._network, self._host, self._registry = network, host, registry
        self._log = (folder / "podman.log").open("ab")
        self.log = folder / "podman.log"

    def step(self, args: list[str], environment: list[str], context: pathlib.Path) -> None:
        command, *options = args
        if command == "build":
            # an option of BuildKit; podman caches layers by default
            options = [option for option in options if not option.startswith("--cache-from=")]
            mounts = [f"--volume={source}:{target}:ro" for source, target in containers.installer_settings().items()]
            options = ["--layers", "--pull=never", "--network=host", "--isolation=chroot", *mounts, *options]
            self._run(["nsenter", f"--net={self._network}", "podman", "build", *options], environment, context)
        elif command == "push":
            *options, image = options
            self._push(image, *options)
        else:
            self._run(["podman", command, *options], environment, context)

    def push(self, image: str) -> str:
        with tempfile.NamedTemporaryFile("r") as digest:
            self._push(image, "--quiet", f"--digestfile={digest.name}")
            return digest.read().strip()

    def _push(self, image: str, *options: str) -> None:
        place = f"docker://{self._registry}{image.removeprefix(self._host)}"  # podman maps names only for pulls
        self._run(["podman", "push", "--tls-verify=false", *options, image, place], [], pathlib.Path("/"))

    def pull(self, image: str) -> int:
        """Pulls an image by digest if necessary; returns its size in bytes. Raises NoSuchImage."""
        if self.run("image", "exists", image).returncode:
            pulled = self.run("pull", "--quiet", image)
            if pulled.returncode:
                raise NoSuchImage(pulled.stderr)
        return int(self.run("image", "inspect", "--format", "{{.Size}}", image).stdout)

    def as_docker(self, folder: pathlib.Path) -> pathlib.Path:
        """Returns a folder with the program `docker`, for Beam, which starts workers by it."""
        folder.mkdir()
        program = folder / "docker"
        options = " ".join(CONFINED)
        lines = ["#!/bin/sh", "command=$1; shift", f'[ "$command" != run ] || set -- {options} "$@"']
        program.write_text("\n".join([*lines, 'exec podman "$command" "$@"', ""]))
        program.chmod(0o755)
        return folder

    def tidy(self) -> None:
        """Removes containers, and images whose layers no later build can use."""
        self.run("container", "prune", "--force")
        listed = self.run("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout.splitlines()
        for name, identity in map(str.split, listed):
            if name.startswith(self._host) and not re.search(":(dependencies|newest)-", name):
                self.run("image", "rm", identity if name.endswith("<none>") else name)
        self.run("image", "prune", "--force")

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Runs podman; returns exit code and output."""
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
            raise BuildError(f"{what} ended with {done.returncode}: {' '.join(last)} (full log: {self.log})")


class InContainers(Containers):
    """Runs tasks in containers as `user`, where /gcs belongs to root: a mount that only root may use."""

    def __init__(self, podman: Podman, folder: pathlib.Path, user: int):
        self._podman, self._folder = podman, folder
        self._mount = folder / "gcs"
        self._mount.mkdir(mode=0o700)
        self.user = user
        self.ran = 0

    def run(self, image, command, environment, log, started) -> int:
        self._podman.pull(image)
        name = f"spanloop-{uuid.uuid4().hex}"
        options = ["--rm", f"--name={name}", "--network=host", f"--user={self.user}:{self.user}", *CONFINED]
        options.append(f"--volume={self._mount}:/gcs")
        for number, file in enumerate(sorted({value for value in environment.values() if os.path.isfile(value)})):
            # certificates and keys must be readable by the container's user only
            own = self._folder / f"{name}-{number}"
            shutil.copyfile(file, own)
            os.chown(own, self.user, self.user)
            options.append(f"--volume={own}:{file}:ro")
        options += [f"--env={variable}={value}" for variable, value in environment.items()]
        self.ran += 1
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["podman", "run", *options, image, *command],
                env=self._podman.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        started(lambda: self._podman.run("kill", name))
        return process.wait()


@contextlib.contextmanager
def registry(folder: pathlib.Path) -> Iterator[str]:
    """Runs an empty image registry on loopback; yields its address."""
    address = f"127.0.0.1:{free_port()}"
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
