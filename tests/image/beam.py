"""A stand-in for Apache Beam's container image: the program that starts workers, built of Beam's Go module."""

import os
import pathlib
import subprocess
import tempfile

from pipeline.packaging import image
from tests import containers
from tests.workflows import programs

MODULE = "github.com/apache/beam/sdks/v2/python/container"
BOOT = "/opt/apache/beam/boot"


def make(root: str, base: str, cache: pathlib.Path, podman: dict[str, str]) -> None:
    """Builds the image that the Dockerfile takes Beam's program from, in podman's storage. Raises CannotRun."""
    name = image.beam_image(root)
    version = name.rpartition(":")[2]
    folder = cache / "go" / f"beam-boot-{version}"
    program = folder / "container"  # `go install` names it after its folder
    if not program.exists():
        with containers.step("image", f"Beam's program that starts workers, {version}"):
            programs.install(f"{MODULE}@v{version}", folder)
    with tempfile.TemporaryDirectory() as context:
        dockerfile = f"FROM {base}\nCOPY container {BOOT}\n"
        pathlib.Path(context, "Dockerfile").write_text(dockerfile)
        pathlib.Path(context, "container").write_bytes(program.read_bytes())
        pathlib.Path(context, "container").chmod(0o755)
        build = ["podman", "build", "--quiet", "--pull=never", "--isolation=chroot", f"--tag={name}", context]
        subprocess.run(build, env=os.environ | podman, stdout=subprocess.DEVNULL, check=True)
