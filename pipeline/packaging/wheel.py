"""The user's modules as a wheel that is addressed by its content: a change of theirs needs no new image.

The image holds everything else, so a wheel may be swapped only if all that it imports is there. That is proven by
reading its code before it is copied anywhere.
"""

import base64
import csv
import functools
import hashlib
import io
import os
import sys
import zipfile

from pipeline.config import Config
from pipeline.errors import ModulesNeedAnImage, NotInstalled
from pipeline.packaging import image, imports, modules
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage

OURS = ("pipeline", "ci", "apps", "tests", "benchmarks", "install")


def copy(config: Config, search: list[str] | None = None) -> Modules:
    """Copies the modules and their schema to the workspace, unless they are there; returns them as they lie there.

    Takes and raises what `locate` does.
    """
    found, files = locate(config, search)
    storage = open_storage(config.workspace)
    for name, data in files.items():
        storage.write(name, data, create_only=True)
    return found


def locate(config: Config, search: list[str] | None = None) -> tuple[Modules, dict[str, bytes]]:
    """Returns the modules as they lie in the workspace once they are copied, and the files to copy, by name.

    `search` are the folders that they may be in, sys.path unless given. Raises ModulesNotFound, BrokenModules,
    ImportOfAnotherTask and ModulesNeedAnImage.
    """
    files = modules.contents(config.modules, search or sys.path)
    imports.check(config.modules, files)
    check(files)
    storage, digest = open_storage(config.workspace), modules.digest(files)
    name, wheel = build(files)
    folder, copied, schema_address = f"modules/{digest}", {}, ""
    schema = files.get(f"{config.modules.replace('.', '/')}/{modules.SCHEMA}")
    if schema is not None:
        copied[f"{folder}/{modules.SCHEMA}"] = schema
        schema_address = storage.address(f"{folder}/{modules.SCHEMA}")
    copied[f"{folder}/{name}"] = wheel
    return Modules(config.modules, digest, schema_address, storage.address(f"{folder}/{name}")), copied


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
    known, siblings = image_modules(), imports.Names(files)
    top = next(iter(files)).split("/")[0]
    problems = [f"the name {top!r} is taken by a package of the image"] if top in known or top in OURS else []
    for name, data in files.items():
        for line, module, wanted in sorted(imports.imports(name, data)) if name.endswith(".py") else ():
            first = module.split(".")[0]
            if first == top:
                there = module in siblings and (not wanted or imports.brings(files, module, wanted))
            else:
                there = first not in OURS and (first in sys.stdlib_module_names or known.has(f"{module}.{wanted}"))
            if not there:
                problems.append(f"{name} line {line} imports {module}{wanted and '.'}{wanted}")
    if problems:
        raise ModulesNeedAnImage(problems)


@functools.cache
def image_modules() -> imports.Names:
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
    return imports.Names(files)
