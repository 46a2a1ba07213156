"""Containers for tests: Debian by debootstrap, isolated podman settings, and this machine's package sources.

Needs only the standard library.
"""

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class CannotRun(Exception):
    """Something that containers need is missing; the message says how to install it."""


def check_machine(target: str, packages: dict[str, str]) -> None:
    """Raises CannotRun where containers cannot run. `packages` maps required programs to their Debian packages."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"  # only root's PATH includes it
    missing = [package for program, package in packages.items() if not shutil.which(program, path=path)]
    if missing:
        raise CannotRun(
            f"run `apt-get update && apt-get install -y --no-install-recommends {' '.join(missing)}` as root."
        )
    if os.geteuid() != 0:
        raise CannotRun(f"debootstrap and the container need root: run `sudo make {target}`.")


def cache() -> Path:
    """The folder that caches slow intermediate results between runs."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "spanloop")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debootstrap(release: str, root: Path, packages: tuple[str, ...]) -> None:
    """Installs a minimal Debian into a folder."""
    remove(root)
    log = root.parent / "debootstrap.log"
    options = ["--variant=minbase", f"--include={','.join(packages)}"]
    with log.open("wb") as out:
        command = ["debootstrap", *options, release, str(root), *mirror()]
        if subprocess.run(command, stdout=out, stderr=out).returncode != 0:
            raise CannotRun(f"debootstrap failed, see {log}: check the network, then run this again.")


def remove(root: Path) -> None:
    """Removes a folder after unmounting file systems that a killed debootstrap left mounted in it."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for folder in reversed([path for path in mounted if path.startswith(f"{root}/")]):
        subprocess.run(["umount", folder], check=True)
    if root.exists():
        shutil.rmtree(root)


def podman_settings(cache: Path) -> dict[str, str]:
    """Environment variables that isolate podman's storage and settings from the machine's."""
    folder = cache / "podman"
    folder.mkdir(exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n')
    # podman's default limits exceed those of a machine that is itself a container; crun refuses mixed cgroups
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    containers = folder / "containers.conf"
    limits = f'["nofile={files}:{files}", "nproc=32768:32768"]'
    containers.write_text(f'[containers]\ndefault_ulimits = {limits}\n[engine]\nruntime = "runc"\n')
    return {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers), "TMPDIR": str(folder)}


def mirror() -> list[str]:
    """This machine's Debian mirror; empty (debootstrap's default) on other systems."""
    if not shutil.which("apt-get"):
        return []
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[:1]


def installer_settings() -> dict[str, str]:
    """This machine's settings of pip and uv: {file here: path in the container}."""
    home = Path.home()
    places = {
        "/etc/pip.conf": [home / ".config/pip/pip.conf", home / ".pip/pip.conf", Path("/etc/pip.conf")],
        "/etc/uv/uv.toml": [home / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")],
        CERTIFICATES: [Path(CERTIFICATES)],
    }
    found = {target: next(filter(Path.is_file, sources), None) for target, sources in places.items()}
    return {str(source): target for target, source in found.items() if source}


def git(folder: Path, *arguments: str) -> str:
    trusted = "safe.directory=*"  # under sudo the checkout belongs to another user
    command = ["git", "-c", trusted, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def step(program: str, text: str) -> Iterator[None]:
    """Prints what a step does, then how long it took."""
    began = time.monotonic()
    print(f"{program}: {text}", flush=True)
    yield
    print(f"{program}: {time.monotonic() - began:.0f} s", flush=True)
