"""The user's modules as the pipelines see them: names of functions, and a digest of what they say."""

import dataclasses
import hashlib
import os

from pipeline.errors import ModulesNotFound

IGNORED = ("__pycache__",)


@dataclasses.dataclass(frozen=True)
class Modules:
    """One task's package. It is never imported here: TFX imports its functions by their names."""

    package: str
    digest: str  # sha256 of its files' names and contents
    schema: str  # path of its curated schema, "" when the schema is to be inferred

    def function(self, name: str) -> str:
        """Returns the dotted path of `module.function` in this package."""
        return f"{self.package}.{name}"


def find(package: str, search: list[str]) -> Modules:
    """Looks a package up in the folders `search` (such as sys.path) and reads its files, without importing it."""
    relative = package.replace(".", os.sep)
    folder = next((path for path in (os.path.join(root, relative) for root in search) if os.path.isdir(path)), None)
    if folder is None:
        raise ModulesNotFound(package)
    digest = hashlib.sha256()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders).difference(IGNORED))
        for name in sorted(names):
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                content = file.read()
            # lengths keep two files from passing for one
            digest.update(f"{os.path.relpath(path, folder)}\0{len(content)}\0".encode())
            digest.update(content)
    schema = os.path.join(folder, "schema.pbtxt")
    return Modules(package, digest.hexdigest(), schema if os.path.exists(schema) else "")
