"""A stand-in for the Dockerfile's base image: Debian by debootstrap, with this machine's Python."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests import containers

# Libraries that Python's standard modules are linked to, and essential packages.
PACKAGES = (
    "ca-certificates netbase tzdata libbz2-1.0 libexpat1 libffi8 liblzma5 libncursesw6 libnsl2 libsqlite3-0 libuuid1"
    " zlib1g"
).split()
OLD, NEW = "bookworm", "trixie"  # for Python 3.10, and for later versions
LIBRARIES = {
    OLD: ["libreadline8", "libssl3", "libtirpc3"],
    NEW: ["libreadline8t64", "libssl3t64", "libtirpc3t64"],
}
UNUSED = ("test", "idlelib", "tkinter", "ensurepip", "lib2to3/tests", "config-*", "__pycache__", "*.a")


def make(name: str, cache: Path, podman: dict[str, str]) -> None:
    """Builds the image `name` in podman's storage, unless it exists and was built from the same inputs."""
    version = ".".join(platform.python_version_tuple()[:2])
    release = OLD if version == "3.10" else NEW
    packages = (*PACKAGES, *LIBRARIES[release])
    made_of = json.dumps([release, packages, sys.base_prefix, platform.python_version(), UNUSED])
    mark = hashlib.sha256(made_of.encode()).hexdigest()
    environment = os.environ | podman
    inspect = ["podman", "image", "inspect", "--format", '{{index .Labels "made-of"}}', name]
    if subprocess.run(inspect, env=environment, capture_output=True, text=True).stdout.strip() == mark:
        return
    with containers.step("image", f"Debian {release} with this machine's Python {version}, as {name}"):
        root = cache / "base"
        containers.debootstrap(release, root, packages)
        for unused in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / unused)
            (root / unused).mkdir()
        shutil.copytree(
            sys.base_prefix,
            root / "usr/local",
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(*UNUSED, "site-packages"),
        )
        for path in Path(sys.base_prefix, "lib", f"python{version}", "site-packages").glob("pip*"):
            shutil.copytree(path, root / "usr/local" / path.relative_to(sys.base_prefix))
        _name_interpreters(root / "usr/local/bin", version)
        for name_of in ("etc/pip.conf", "etc/uv/uv.toml"):  # mount points for settings while packages are installed
            (root / name_of).parent.mkdir(exist_ok=True)
            (root / name_of).touch()
        subprocess.run(["chroot", root, "/sbin/ldconfig"], check=True)
        whole = "import bz2, ctypes, lzma, readline, sqlite3, ssl, sys, uuid, zlib; assert sys.prefix == '/usr/local'"
        subprocess.run(["chroot", root, "/usr/local/bin/python3", "-c", whole], check=True)
        changes = ["CMD python3", "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ["ENV LANG=C.UTF-8", f"LABEL made-of={mark}"]
        options = [option for change in changes for option in ("--change", change)]
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        importing = ["podman", "import", "--quiet", *options, "-", name]
        subprocess.run(importing, env=environment, stdin=tar.stdout, stdout=subprocess.DEVNULL, check=True)
        containers.remove(root)


def _name_interpreters(folder: Path, version: str) -> None:
    """Keeps only the interpreter, under its usual names: other scripts hold its original path."""
    for path in list(folder.iterdir()):
        if path.name != f"python{version}":
            path.unlink()
    for name in ("python3", "python"):
        (folder / name).symlink_to(f"python{version}")
