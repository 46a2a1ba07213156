"""`make test-image`: builds the image and trains in it, with no network but the local servers.

The Dockerfile's base image is not available everywhere, so a stand-in gets its name. The rest is as on Google Cloud:
`build-image` makes the local Cloud Build perform the steps of cloudbuild.yaml with podman, which pushes to a local
registry; `submit` makes the local Vertex AI run every task in a container of that digest, as an unprivileged user with
a read-only root. Everything runs in a network namespace with only loopback; only packages are installed from outside.
"""

import argparse
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.packaging import image  # noqa: E402
from tests import containers  # noqa: E402
from tests.containers import CannotRun, step  # noqa: E402

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud
    from tests.image.podman import InContainers, Podman

PROGRAMS = {
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "git": "git",
    "go": "golang",
    "podman": "podman",
    "runc": "runc",
}
LARGEST = 2.0e9  # bytes
USER = 1000  # of the image


def outside() -> int:
    """Builds the base image, then runs the rest without a network."""
    containers.check_machine("test-image", PROGRAMS)
    from tests.image import base, beam

    cache = containers.cache()
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may use the same storage
        name, settings = image.base(str(ROOT)), containers.podman_settings(cache)
        base.make(name, cache, settings)
        beam.make(str(ROOT), name, cache, settings)
        inside = [sys.executable, __file__, "--network", f"/proc/{os.getpid()}/ns/net"]
        return subprocess.run(["unshare", "--net", *inside]).returncode


def inside(network: str) -> int:
    """Builds and trains in an isolated network namespace; `network` is the file of the one for installing packages."""
    from tests.emulators.cloud import Cloud
    from tests.image.podman import InContainers, Podman, registry

    _bring_up_loopback()
    cache = containers.cache()
    with tempfile.TemporaryDirectory(prefix="spanloop-image-") as name, registry(cache) as address, Cloud() as cloud:
        folder = pathlib.Path(name)
        settings = containers.podman_settings(cache)
        podman = Podman(settings, cloud.image_repository.split("/")[0], address, network, cache)
        cloud.registry.add("spanloop")
        cloud.builds.execute = podman
        with step("image", "python -m ci build-image"):
            built = _ci(cloud, "build-image", DATAFLOW_WORKERS="1")  # so it has Beam's program
        size = podman.pull(built["image"])
        print(f"image: {built['image']} has {size / 1e9:.2f} GB", flush=True)
        assert built["built"] and size <= LARGEST, f"the image is larger than {LARGEST / 1e9} GB"
        tasks = cloud.vertex.containers = InContainers(podman, folder, USER)
        _probe(tasks, built["image"], folder / "probe.log")
        _import(podman, built["image"])
        _work(cloud, podman, folder, built["image"])
        _train(cloud, folder, built["image"])
        assert not cloud.refused, f"clients tried to reach {cloud.refused}"
        print(f"image: {tasks.ran} containers, none of which tried to reach another host", flush=True)
        podman.tidy()
        return 0


def _probe(tasks: "InContainers", image: str, log: pathlib.Path) -> None:
    """Runs PROBE in containers of the image: as its own user, then as one that it does not know."""
    for user in (USER, 20000):
        tasks.user = user
        code = tasks.run(image, ["python", "-c", PROBE, str(user)], {}, log, lambda end: None)
        if code:
            raise SystemExit(f"error: the image violates a requirement: {log.read_text()}")
    tasks.user = USER


# requirements for a container of the image
PROBE = """
import importlib.util, os, pathlib, shutil, socket, sys
assert os.getuid() == os.getgid() == int(sys.argv[1]) and os.getcwd() == "/app"
assert not os.access("/gcs", os.R_OK | os.X_OK)
assert importlib.util.find_spec("pipeline") and not importlib.util.find_spec("modules")
assert not [name for name in ("gcc", "g++", "cc", "ld", "make", "uv", "git") if shutil.which(name)]
assert not os.access("/", os.W_OK) and not os.access("/app", os.W_OK) and os.access("/tmp", os.W_OK)
assert [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")] == ["0" * 16]
for folder in ("/", "/app", "/opt/venv"):
    try:
        pathlib.Path(folder, "new").touch()
    except OSError:
        continue
    raise AssertionError(folder + " can be written to")
try:
    socket.create_connection(("192.0.2.1", 443), timeout=2)
except OSError:
    pass
else:
    raise AssertionError("an outside address is reachable")
"""


def _import(podman: "Podman", image: str) -> None:
    """Checks that TFX and its libraries find every optional import in the image that they find on this machine."""
    from tests.image.podman import CONFINED

    program = pathlib.Path(__file__).with_name("optional_imports.py").read_text()
    with step("image", "imports that TFX and its libraries would silently go on without"):
        command = [sys.executable, "-W", "ignore", "-c", program]
        here = subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        there = podman.run("run", "--rm", "--network=none", *CONFINED, image, "python", "-W", "ignore", "-c", program)
        expected = json.loads(here.communicate()[0])["works"]
    if there.returncode:
        raise SystemExit(f"error: the imports cannot be checked in the image: {there.stderr[-5000:]}")
    missing = sorted(set(expected).intersection(json.loads(there.stdout)["fails"]))
    assert len(expected) > 100 and not missing, f"imports that the image lacks: {missing}"


def _work(cloud: "Cloud", podman: "Podman", folder: pathlib.Path, image: str) -> None:
    """Runs a Beam pipeline in worker containers of the image, with the modules' wheel as TFX hands it to Dataflow."""
    wheel = _ci(cloud, "copy-modules")["address"]
    copy = folder / wheel.rpartition("/")[2]
    copy.write_bytes(cloud.gcs.read(wheel))
    with step("image", "Beam's program starts workers of that digest, which import the modules' wheel"):
        programs = podman.as_docker(folder / "programs")
        environment = podman.environment | {"PATH": f"{programs}:{os.environ['PATH']}"}
        program = [sys.executable, "-W", "ignore", ROOT / "tests" / "image" / "worker.py", image, copy]
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: no worker of Dataflow would start: {done.stderr[-5000:]}")


def _train(cloud: "Cloud", folder: pathlib.Path, image: str) -> None:
    """Imports images, trains on Vertex AI and checks the release."""
    from pipeline.data import digits

    digits.write(str(folder / "digits"), digits.FIRST, limit=600)
    _ci(cloud, "import-images", str(folder / "digits"))
    with step("image", "python -m ci submit --pipeline training --wait, each task in a container of that digest"):
        ended = _ci(cloud, "submit", "--pipeline", "training", "--wait", PIPELINE_IMAGE=image)
    found = _ci(cloud, "status")
    assert ended["submitted"] and found["releases"] == ["model-1"], (ended, found)


def _ci(cloud: "Cloud", *arguments: str, **variables: str) -> dict:
    """Runs a command as a client of the local servers; returns its JSON."""
    environment = os.environ | cloud.environment | {"WORKSPACE": f"gs://{cloud.bucket}/workspace"} | variables
    command = [sys.executable, "-m", "ci", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: python -m ci {' '.join(arguments)} ended with {done.returncode}")
    return json.loads(done.stdout)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up = struct.pack("16sh", b"lo", 1)  # IFF_UP
        fcntl.ioctl(probe, 0x8914, up)  # SIOCSIFFLAGS


def main() -> None:
    parser = argparse.ArgumentParser(prog="make test-image", description=__doc__.partition("\n")[0])
    parser.add_argument("--network", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        sys.exit(inside(arguments.network) if arguments.network else outside())
    except CannotRun as reason:
        sys.exit(f"error: the image cannot be tested here: {reason}")


if __name__ == "__main__":
    main()
