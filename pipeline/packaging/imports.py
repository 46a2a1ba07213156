"""Imports of the task's package, read from its code without running it: which are missing, which are another task's."""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from pipeline.errors import BrokenModules, ImportOfAnotherTask


def check(package: str, files: Mapping[str, bytes]) -> None:
    """Checks that Python can read every file of a package, and that it imports its own files and no other task's.

    `files` are those of `modules.contents`. A task that was copied and still imports what it was copied from would
    train, and release, the original. Raises BrokenModules and ImportOfAnotherTask.
    """
    top, own, known = package.split(".")[0], f"{package}.", Names(files)
    for name, line, module, wanted in _all_imports(files):
        if module.split(".")[0] != top:
            continue
        full = f"{module}.{wanted}" if wanted not in ("", "*") else module
        if not f"{full}.".startswith(own) and not own.startswith(f"{full}."):
            if module != full and own.startswith(f"{module}.") and brings(files, module, wanted):
                continue  # a name of the package around the task's
            raise ImportOfAnotherTask(name, line, full, package)
        if module not in known or (wanted and not brings(files, module, wanted)):
            raise BrokenModules(name, line, f"there is no {full} to import")


def check_installed(package: str, files: Mapping[str, bytes]) -> None:
    """Checks that what the files import at once, outside of functions and `try`, is installed. Raises BrokenModules."""
    top = package.split(".")[0]
    for name, data in files.items():
        if not name.endswith(".py"):
            continue
        for node in ast.parse(data, name).body:
            wanted = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                wanted = [node.module]
            for module in (module.split(".")[0] for module in wanted):
                if module not in (top, *sys.stdlib_module_names) and importlib.util.find_spec(module) is None:
                    how = "add it to pyproject.toml, then run `make requirements` and `make install`"
                    raise BrokenModules(name, node.lineno, f"the package {module} is not installed: {how}")


def _all_imports(files: Mapping[str, bytes]) -> Iterator[tuple[str, int, str, str]]:
    """Yields what `imports` does for each file, in the order of names and lines."""
    for name, data in files.items():
        if name.endswith(".py"):
            yield from ((name, *found) for found in sorted(imports(name, data)))


def imports(name: str, data: bytes) -> Iterator[tuple[int, str, str]]:
    """Yields what a file imports, at once or in a function: the line, the module, and the name from it ("" for all).

    Raises BrokenModules.
    """
    try:
        waiting: list[ast.AST] = [ast.parse(data, name)]
    except (SyntaxError, ValueError) as error:
        raise BrokenModules(name, getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))) from None
    package = name.split("/")[:-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting.extend(node.orelse)  # the rest is for type checkers alone
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*around, *filter(None, [node.module])])
            yield from ((node.lineno, module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            named = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, str(value), "") for value in named)
        waiting.extend(ast.iter_child_nodes(node))


def brings(files: dict[str, bytes], module: str, wanted: str) -> bool:
    """True when `from module import wanted` finds a file of that name, or a module that may define it."""
    path = module.replace(".", "/")
    if {f"{path}.py", f"{path}/{wanted}.py", f"{path}/{wanted}/__init__.py"}.intersection(files):
        return True
    return wanted == "*" or re.search(rf"\b{wanted}\b".encode(), files.get(f"{path}/__init__.py", b"")) is not None


class Names:
    """The dotted names of modules and packages that files make up."""

    def __init__(self, files: Iterable[str]):
        self._modules: set[str] = set()
        self._spaces: set[str] = set()  # folders: packages, with an __init__ or without
        for file in files:
            *folders, last = file.split("/")
            if last.endswith((".py", ".so")):
                stem = last.partition(".")[0]
                self._modules.add(".".join(folders if stem == "__init__" else [*folders, stem]))
                self._spaces.update(".".join(folders[:length]) for length in range(1, 1 + len(folders)))

    def __contains__(self, name: str) -> bool:
        return name in self._modules or name in self._spaces

    def has(self, module: str) -> bool:
        """True when a module is there, or can be: a package with an __init__ may bring names that no file has."""
        parts = module.rstrip(".").split(".")
        for length in range(1, 1 + len(parts)):
            name = ".".join(parts[:length])
            if name in self._modules:
                return True
            if name not in self._spaces:
                return False
        return True
