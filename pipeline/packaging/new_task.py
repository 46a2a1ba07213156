"""A new task's package, copied from an existing one: imports and paths in it name the copy."""

import os
import re

from pipeline.errors import UsageError
from pipeline.packaging import imports, modules


def create(name: str, source: str, search: list[str]) -> list[str]:
    """Copies the package `source`, such as modules.classification, to a sibling `name`, and its tests in tests/ too.

    Returns the names of the new files. Raises UsageError, ModulesNotFound, and what `imports.check` raises of the copy.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot be the name of a task: use small letters, digits and _, such as pets.")
    around = source.rpartition(".")[0]
    package = f"{around}.{name}" if around else name
    root = modules.root_of(source, search)
    copied = _renamed(source, package, root)
    imports.check(package, copied)
    if os.path.isdir(os.path.join(root, "tests", *source.split("."))):
        copied |= _renamed(f"tests.{source}", f"tests.{package}", root)
    for file in copied:
        if os.path.lexists(os.path.join(root, file)):
            raise UsageError(
                f"{file} exists already: choose another name, or delete {package.replace('.', '/')} first."
            )
    for file, data in copied.items():
        path = os.path.join(root, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as out:
            out.write(data)
    return list(copied)


def _renamed(source: str, package: str, root: str) -> dict[str, bytes]:
    """Returns the files of a package as those of another one: names, and what they import and mention."""
    folder, target = (f"{dotted.replace('.', '/')}/" for dotted in (source, package))
    task, copy = (dotted.removeprefix("tests.") for dotted in (source, package))
    renamed = {}
    for name, data in modules.contents(source, [root]).items():
        if name.startswith(folder):
            if name.endswith(".py"):
                data = re.sub(rf"\b{re.escape(task)}\b".encode(), copy.encode(), data)
                slashed = task.replace(".", "/")
                data = re.sub(rf"\b{re.escape(slashed)}\b".encode(), copy.replace(".", "/").encode(), data)
            renamed[target + name.removeprefix(folder)] = data
    return renamed
