"""The user's modules as a wheel that is addressed by its content: a change of theirs needs no new image.

The image holds everything else, so a wheel may be swapped only if all that it imports is there. That is proven by
reading its code before it is copied anywhere.
"""

import ast
import base64
import csv
import functools
import hashlib
import io
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator

from pipeline.config import Config
from pipeline.errors import BrokenModules, ModulesNeedAnImage, NotInstalled
from pipeline.packaging import image, modules
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage

OURS = ("pipeline", "ci", "tests", "benchmarks", "install")


def copy(config: Config, search: list[str] | None = None) -> Modules:
    """Copies the modules and their schema to the workspace, unless they are there; returns them as they lie there.

    Raises ModulesNotFound, BrokenModules and ModulesNeedAnImage. `search` are the folders that they may be in,
    sys.path unless given.
    """
    files = modules.contents(config.modules, search or sys.path)
    check(files)
    storage, digest = open_storage(config.workspace), modules.digest(files)
    name, wheel = build(files)
    folder = f"modules/{digest}"
    schema = files.get(f"{config.modules.replace('.', '/')}/{modules.SCHEMA}")
    if schema is not None:
        storage.write(f"{folder}/{modules.SCHEMA}", schema, create_only=True)
    storage.write(f"{folder}/{name}", wheel, create_only=True)
    address = storage.address(f"{folder}/{name}")
    schema_address = storage.address(f"{folder}/{modules.SCHEMA}") if schema is not None else ""
    return Modules(config.modules, digest, schema_address, address)


def build(files: dict[str, bytes]) -> tuple[str, bytes]:
    """Returns the name and the bytes of a wheel of these files: the same files give the same bytes anywhere.

    Its version says nothing, the folder that it is kept in does. It declares no dependencies: TFX would have pip
    download them in each node of a pipeline.
    """
    top = next(iter(files)).split("/")[0]
    distribution, version = f"spanloop_{top}", "1"
    about = f"{distribution}-{version}.dist-info"
    packed = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: spanloop\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    rows.writerows((name, f"sha256={_checksum(data)}", len(data)) for name, data in packed.items())
    rows.writerow((f"{about}/RECORD", "", ""))
    packed[f"{about}/RECORD"] = record.getvalue().encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # not compressed: every release of zlib may do that another way
        for name, data in packed.items():
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, on whatever this is
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data)
    return f"{distribution}-{version}-py3-none-any.whl", out.getvalue()


def _checksum(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def check(files: dict[str, bytes]) -> None:
    """Raises BrokenModules where Python cannot read a file, ModulesNeedAnImage where the image lacks an import."""
    known, siblings = image_modules(), Names(files)
    top = next(iter(files)).split("/")[0]
    problems = [f"the name {top!r} is taken by a package of the image"] if top in known or top in OURS else []
    for name, data in files.items():
        for line, module, wanted in sorted(imports(name, data)) if name.endswith(".py") else ():
            first = module.split(".")[0]
            if first == top:
                there = module in siblings and (not wanted or _brings(files, module, wanted))
            else:
                there = first not in OURS and (first in sys.stdlib_module_names or known.has(f"{module}.{wanted}"))
            if not there:
                problems.append(f"{name} line {line} imports {module}{wanted and '.'}{wanted}")
    if problems:
        raise ModulesNeedAnImage(problems)


def _brings(files: dict[str, bytes], module: str, wanted: str) -> bool:
    """True when `from module import wanted` finds a file of that name, or a module that may define it."""
    path = module.replace(".", "/")
    if {f"{path}.py", f"{path}/{wanted}.py", f"{path}/{wanted}/__init__.py"}.intersection(files):
        return True
    return wanted == "*" or re.search(rf"\b{wanted}\b".encode(), files.get(f"{path}/__init__.py", b"")) is not None


def imports(name: str, data: bytes) -> Iterator[tuple[int, str, str]]:
    """Yields what a file imports, at once or in a function: the line, the module, and what of it ("" for all).

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


@functools.cache
def image_modules() -> Names:
    """Returns what can be imported in the image: what its requirements bring, as they are installed here.

    Raises NotInstalled when they are not.
    """
    from importlib import metadata

    with open(os.path.join(image.ROOT, "cloudbuild", "left-out.txt"), encoding="utf-8") as file:
        left_out = set(file.read().split("\n"))
    files: list[str] = []
    for package in image.requirements(image.ROOT).keys() - left_out:
        try:
            record = metadata.distribution(package).read_text("RECORD") or ""
        except metadata.PackageNotFoundError:
            raise NotInstalled(package) from None
        files += [line.rsplit(",", 2)[0].strip('"') for line in record.splitlines()]
    return Names(files)
