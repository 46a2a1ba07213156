"""`make test-modern`: runs the tests on TFX 1.21 in a Debian 13 container.

The container's root is a folder: Debian by debootstrap, then `make install` as an ordinary user. It stays in the cache
and follows the lock, so that a second run is fast. Installing uses this machine's network and its installer settings,
which are mounted and never copied; the tests have no network but loopback.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import install  # noqa: E402
from tests import containers  # noqa: E402
from tests.containers import CannotRun, git, step  # noqa: E402

RELEASE = "trixie"
PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")
HOME = "/home/spanloop"
USER = 1000  # not root, like most users
OF_INSTALLING = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_HTTP", "HTTP_", "HTTPS_", "NO_PROXY")
OF_TESTS = ("CI", "TESTS", "OPENBLAS_")  # OPENBLAS_: some processors compute wrong results without


class Machine:
    """A Debian 13 root folder with a checkout."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.root = cache / RELEASE
        self.checkout = self.root / HOME[1:] / "spanloop"

    def make(self) -> None:
        """Installs Debian into the folder unless it has the packages."""
        installed = self.root / "packages.json"
        if installed.exists() and json.loads(installed.read_text()) == list(PACKAGES):
            return
        with step("modern", f"Debian {RELEASE} with {', '.join(PACKAGES)}"):
            containers.debootstrap(RELEASE, self.root, PACKAGES)
            useradd = f"useradd --create-home --uid {USER} --home-dir {HOME} spanloop"
            subprocess.run(["chroot", self.root, *useradd.split()], check=True)
            for name in ("etc/pip.conf", "etc/uv/uv.toml"):  # mount points for settings while packages are installed
                (self.root / name).parent.mkdir(exist_ok=True)
                (self.root / name).touch()
            installed.write_text(json.dumps(PACKAGES))

    def copy_checkout(self) -> None:
        """Copies this checkout into the machine as a separate repository; keeps the machine's .venv."""
        self.checkout.mkdir(exist_ok=True)
        for path in self.checkout.iterdir():
            if path.name not in (".venv", ".tools"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in filter(None, git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")):
            if os.path.lexists(ROOT / name):  # git still lists files whose deletion is not committed
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
        """Runs a shell command in the machine's checkout as its user; returns the exit code."""
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
            environment = os.environ | containers.podman_settings(self.cache)
            return subprocess.run(podman, env=environment, stdin=subprocess.DEVNULL).returncode


def test() -> int:
    containers.check_machine("test-modern", {name: name for name in ("debootstrap", "git", "podman", "runc")})
    cache = containers.cache()
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may use the same machine
        machine = Machine(cache)
        machine.make()
        machine.copy_checkout()
        with step("modern", "make install, with this machine's network"):
            code = machine.run("make install", "host", OF_INSTALLING, containers.installer_settings())
        if code == 0:
            with step("modern", "make test, with no network"):
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
