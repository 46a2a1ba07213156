"""The packages that lock files name: uv.lock, and each package-lock.json."""

import json
import pathlib
import sys
from typing import Any, NamedTuple

from pipeline.packaging import image

PYPI, NPM = "PyPI", "npm"  # as OSV names ecosystems: https://ossf.github.io/osv-schema/#defined-ecosystems


class Package(NamedTuple):
    """A package that a lock file names."""

    ecosystem: str
    name: str
    version: str


def locked(root: str) -> set[Package]:
    """Returns the packages of all lock files, in each version that is installed somewhere."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    python = tomllib.loads(pathlib.Path(root, "uv.lock").read_text(encoding="utf-8"))["package"]
    found = {Package(PYPI, of["name"], of["version"]) for of in python if "registry" in of["source"]}
    for entries in npm_locks(root).values():
        found |= {Package(NPM, name, entry["version"]) for name, entry in entries}
    return found


def npm_locks(root: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Returns {path: [(package, its entry)]} of each package-lock.json, without the project itself.

    https://docs.npmjs.com/cli/configuring-npm/package-lock-json#packages
    """
    found = {}
    for name in image.tracked(root):
        path = pathlib.Path(root, name)
        if path.name == "package-lock.json" and path.is_file():
            packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
            found[name] = [(place.rpartition("node_modules/")[2], entry) for place, entry in packages.items() if place]
    return found
