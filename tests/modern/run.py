"""Runs the tests on TFX 1.21, in a Debian 13 machine of their own: what `make test-modern` does.

A folder holds that machine: Debian by debootstrap, then what `make install` makes of it, as an ordinary user. It stays
in the cache and is kept up with the lock, so that a second run is quick. Installing uses this machine's network and its
settings for it, which are mounted and never copied; the tests have no network but loopback.
"""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import install  # noqa: E402

RELEASE = "trixie"
PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")
HOME = "/home/spanloop"
USER = 1000  # not root, like most who run the tests
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
OF_INSTALLING = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_HTTP", "HTTP_", "HTTPS_", "NO_PROXY")
OF_TESTS = ("CI", "TESTS", "OPENBLAS_")  # OPENBLAS_: some processors compute wrong results without


class CannotRun(Exception):
    """What is missing on this machine, and how to get it."""


def check_machine() -> None:
    """Raises CannotRun where a container cannot be made."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"  # which only root has on its PATH
    missing = [name for name in ("debootstrap", "git", "podman", "runc") if not shutil.which(name, path=path)]
    if missing:
        raise CannotRun(
            f"run `apt-get update && apt-get install -y --no-install-recommends {' '.join(missing)}` as root."
        )
    if os.geteuid() != 0:
        raise CannotRun("debootstrap and the container need root: run `sudo make test-modern`.")


class Machine:
    """Debian 13 in a folder."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.root = cache / RELEASE
        self.checkout = self.root / HOME[1:] / "spanloop"

    def make(self) -> None:
        """Has debootstrap fill the folder, unless it did."""
        asked = self.root / "packages.json"
        if asked.exists() and json.loads(asked.read_text()) == list(PACKAGES):
            return
        with step(f"Debian {RELEASE} with {', '.join(PACKAGES)}"):
            self.remove()
            log = self.cache / "debootstrap.log"
            options = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
            with log.open("wb") as out:
                command = ["debootstrap", *options, RELEASE, self.root, *mirror()]
                if subprocess.run(command, stdout=out, stderr=out).returncode != 0:
                    raise CannotRun(f"debootstrap failed, see {log}: check the network, then run this again.")
            useradd = f"useradd --create-home --uid {USER} --home-dir {HOME} spanloop"
            subprocess.run(["chroot", self.root, *useradd.split()], check=True)
            for name in ("etc/pip.conf", "etc/uv/uv.toml"):  # what a mount lies over while packages are installed
                (self.root / name).parent.mkdir(exist_ok=True)
                (self.root / name).touch()
            asked.write_text(json.dumps(PACKAGES))

    def remove(self) -> None:
        """Removes the folder, but never what a debootstrap that was killed left mounted in it."""
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for folder in reversed([path for path in mounted if path.startswith(f"{self.root}/")]):
            subprocess.run(["umount", folder], check=True)
        if self.root.exists():
            shutil.rmtree(self.root)

    def copy_checkout(self) -> None:
        """Makes the machine's checkout the same as this one, as a repository of its own, and keeps its environment."""
        self.checkout.mkdir(exist_ok=True)
        for path in self.checkout.iterdir():
            if path.name not in (".venv", ".tools"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in filter(None, git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")):
            if os.path.lexists(ROOT / name):  # git still lists what was deleted and not committed
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.checkout / name, follow_symlinks=False)
        git(self.checkout, "init", "--quiet")
        git(self.checkout, "add", "--all")
        author = ("-c", "user.name=spanloop", "-c", "user.email=")
        git(self.checkout, *author, "commit", "--quiet", "--message=Working copy")
        for folder, folders, files in os.walk(self.checkout):
            for name in (".", *folders, *files):
                os.chown(os.path.join(folder, name), USER, USER, follow_symlinks=False)
            folders[:] = [name for name in folders if name not in (".venv", ".tools")]

    def run(self, command: str, network: str, passed: tuple[str, ...], mounts: dict[str, str]) -> int:
        """Runs a shell command in the machine's checkout, as its user. Returns its exit code."""
        with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
            scratch = Path(folder, "tmp")
            scratch.mkdir()
            scratch.chmod(0o1777)
            options = ["--rm", "--replace", "--name=spanloop-modern", f"--network={network}", f"--user={USER}:{USER}"]
            options += [f"--workdir={HOME}/spanloop", f"--volume={scratch}:/tmp"]
            options += [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
            options += [f"--env=HOME={HOME}", "--env=LANG=C.UTF-8", "--env=PATH=/usr/local/bin:/usr/bin:/bin"]
            options += [f"--env={name}" for name in os.environ if name.upper().startswith(passed)]
            podman = ["podman", "run", *options, "--rootfs", str(self.root), "sh", "-c", command]
            environment = os.environ | podman_settings(self.cache)
            return subprocess.run(podman, env=environment, stdin=subprocess.DEVNULL).returncode


def podman_settings(cache: Path) -> dict[str, str]:
    """Storage and settings of our own, apart from the machine's."""
    folder = cache / "podman"
    folder.mkdir(exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n')
    # podman's own limits are more than a machine that is a container itself may set; crun refuses mixed cgroups
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    containers = folder / "containers.conf"
    limits = f'["nofile={files}:{files}", "nproc=32768:32768"]'
    containers.write_text(f'[containers]\ndefault_ulimits = {limits}\n[engine]\nruntime = "runc"\n')
    return {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers), "TMPDIR": str(folder)}


def mirror() -> list[str]:
    """Where this machine gets Debian's packages from; nothing (debootstrap's own choice) where it is no Debian."""
    if not shutil.which("apt-get"):
        return []
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[:1]


def settings_of_installing() -> dict[str, str]:
    """Files that tell pip and uv how to reach packages, by where they belong in the machine."""
    home = Path.home()
    places = {
        "/etc/pip.conf": [home / ".config/pip/pip.conf", home / ".pip/pip.conf", Path("/etc/pip.conf")],
        "/etc/uv/uv.toml": [home / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")],
        CERTIFICATES: [Path(CERTIFICATES)],
    }
    found = {target: next(filter(Path.is_file, sources), None) for target, sources in places.items()}
    return {str(source): target for target, source in found.items() if source}


def git(folder: Path, *arguments: str) -> str:
    trusted = "safe.directory=*"  # under sudo the checkout is another user's
    command = ["git", "-c", trusted, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def step(text: str):
    """Says what is done and how long it took."""
    began = time.monotonic()
    print(f"modern: {text}", flush=True)
    yield
    print(f"modern: {time.monotonic() - began:.0f} s", flush=True)


def test() -> int:
    check_machine()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "spanloop")
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may use the same machine
        machine = Machine(cache)
        machine.make()
        machine.copy_checkout()
        with step("make install, with this machine's network"):
            code = machine.run("make install", "host", OF_INSTALLING, settings_of_installing())
        if code == 0:
            with step("make test, with no network"):
                code = machine.run('make test TESTS="$TESTS"', "none", OF_TESTS, {})
        return code


def main() -> None:
    line = install.choose_line(*install.this_machine())
    if line.tfx == "1.21":
        print(f"modern: this machine runs TFX {line.tfx} itself: make test", flush=True)
        os.execvp("make", ["make", "-C", str(ROOT), "test"])
    try:
        sys.exit(test())
    except CannotRun as reason:
        sys.exit(f"error: the tests on TFX 1.21 need a Debian 13 container here: {reason}")


if __name__ == "__main__":
    main()
