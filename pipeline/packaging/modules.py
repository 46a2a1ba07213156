"""The user's modules as the pipelines see them: names of functions, files, and a digest of what these say."""

import dataclasses
import hashlib
import json
import os

from pipeline.errors import ModulesNotFound, NoTask
from pipeline.packaging import imports

SCHEMA = "schema.pbtxt"


@dataclasses.dataclass(frozen=True)
class Modules:
    """One task's package. It is never imported here: TFX imports its functions by their names."""

    package: str
    digest: str  # sha256 of its files' names and contents
    schema: str  # path of its curated schema, "" when the schema is to be inferred
    wheel: str = ""  # address of the wheel that holds it, "" when it can be imported as it is

    def function(self, name: str) -> str:
        """Returns how TFX finds `module.function` of this package; from a wheel it installs that first."""
        return f"{self.module(name.rpartition('.')[0])}.{name.rpartition('.')[2]}"

    def module(self, name: str) -> str:
        """Returns how TFX finds the module `name` of this package."""
        return f"{self.package}.{name}@{self.wheel}" if self.wheel else f"{self.package}.{name}"

    def to_json(self) -> str:
        """Returns what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Modules":
        """Returns the modules that `to_json` wrote."""
        return cls(**json.loads(text))


def find(package: str, search: list[str]) -> Modules:
    """Looks a package up in the folders `search` (such as sys.path) and checks its imports, without importing it.

    Raises ModulesNotFound, BrokenModules and ImportOfAnotherTask.
    """
    root, files = root_of(package, search), contents(package, search)
    imports.check(package, files)
    imports.check_installed(package, files)
    schema = os.path.join(root, *package.split("."), SCHEMA)
    return Modules(package, digest(files), schema if os.path.exists(schema) else "")


def contents(package: str, search: list[str]) -> dict[str, bytes]:
    """Returns what the files of a package and the `__init__.py` of the packages around it hold.

    In the order of their names, which are those in a wheel: `modules/classification/model.py`. Hidden files and what
    Python compiled are left out.
    """
    root, *outer = root_of(package, search), *package.split(".")
    names = [f"{'/'.join(outer[:length])}/__init__.py" for length in range(1, len(outer))]
    names = [name for name in names if os.path.exists(os.path.join(root, name))]
    for folder, folders, files in os.walk(os.path.join(root, *outer)):
        folders[:] = filter(_counts, folders)
        names += [os.path.relpath(os.path.join(folder, name), root) for name in filter(_counts, files)]
    if not names:
        raise ModulesNotFound(package)
    found = {}
    for name in sorted(name.replace(os.sep, "/") for name in names):
        with open(os.path.join(root, name), "rb") as file:
            found[name] = file.read()
    return found


def digest(files: dict[str, bytes]) -> str:
    """Returns the sha256 of names and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode())  # lengths keep two files from passing for one
        total.update(content)
    return total.hexdigest()


def root_of(package: str, search: list[str]) -> str:
    """Returns the folder of `search` that a package lies in. Raises ModulesNotFound, NoTask."""
    if not package:
        raise NoTask()
    relative = package.replace(".", os.sep)
    for root in search:
        if os.path.isdir(os.path.join(root, relative)):
            return root
    raise ModulesNotFound(package)


def _counts(name: str) -> bool:
    return name[0] != "." and name != "__pycache__" and not name.endswith((".pyc", "~"))
