"""Known vulnerabilities of locked packages, by a local copy of a database in the format of OSV.

Where to download one: https://google.github.io/osv.dev/data/. Its format: https://ossf.github.io/osv-schema/.
"""

import json
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ci.audit.finding import Check, Finding
from ci.audit.locks import NPM, PYPI, Package
from pipeline.errors import UsageError
from pipeline.formatting import counted

NAME = "Vulnerabilities"
Advisory = Mapping[str, Any]


def check(packages: Collection[Package], database: str) -> Check:
    """Looks up packages in a database: a zip of JSON files, or a folder with such files or zips, at any depth."""
    by_name: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        by_name.setdefault((package.ecosystem, _normalized(package.ecosystem, package.name)), []).append(package)
    findings: dict[tuple[Package, str], str] = {}
    advisories, newest = 0, ""
    for advisory in read(database):
        advisories, newest = advisories + 1, max(newest, str(advisory.get("modified", "")))
        for package in _affected(advisory, by_name):
            about = advisory.get("summary") or str(advisory.get("details", "")).partition("\n")[0]
            findings.setdefault((package, _name(advisory)), f"{package.version}: {about[:100] or advisory['id']}")
    if not advisories:
        raise UsageError(f"{database} holds no advisories: name a folder or a zip with files of OSV's format.")
    known = f"{counted(advisories, 'advisory', 'advisories')} until {newest[:10]}"
    about = f"{counted(len(packages), 'locked package')}, {known}"
    found = [Finding(NAME, f"{package.name} {name}", problem) for (package, name), problem in sorted(findings.items())]
    return Check(NAME, about, tuple(found))


def read(database: str) -> Iterator[Advisory]:
    """Yields the advisories of a database that were not withdrawn."""
    for data in _documents(database):
        try:
            found = json.loads(data)
        except ValueError:
            raise UsageError(f"{database} holds a JSON file that is damaged: download the database again.") from None
        if isinstance(found, dict) and "id" in found and not found.get("withdrawn"):
            yield found


def _documents(path: str) -> Iterator[bytes]:
    """Yields the contents of the JSON files in a zip or below a folder."""
    if os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                if name.endswith((".json", ".zip")):
                    yield from _documents(os.path.join(folder, name))
    elif path.endswith(".json"):
        with open(path, "rb") as file:
            yield file.read()
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        yield archive.read(name)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path} cannot be read as a zip ({error}): download the database again.") from None


def _name(advisory: Advisory) -> str:
    """Returns the name of a vulnerability: databases list one by several names, which have the CVE in common."""
    names = [advisory["id"], *(advisory.get("aliases") or ())]
    return min((name for name in names if name.startswith("CVE-")), default=advisory["id"])


def _affected(advisory: Advisory, packages: Mapping[tuple[str, str], list[Package]]) -> Iterator[Package]:
    for affected in advisory.get("affected", ()):
        of = affected.get("package", {})
        key = (of.get("ecosystem", ""), _normalized(of.get("ecosystem", ""), of.get("name", "")))
        yield from (package for package in packages.get(key, ()) if is_affected(package, affected))


def _normalized(ecosystem: str, name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == PYPI else name


def is_affected(package: Package, affected: Mapping[str, Any]) -> bool:
    """Evaluates an entry of `affected`: https://ossf.github.io/osv-schema/#evaluation.

    A version or a range that cannot be read counts as affected: a person has to look.
    """
    order = ORDERS[package.ecosystem]
    if package.version in affected.get("versions", ()):
        return True
    try:
        version = order(package.version)
        ranges = [of["events"] for of in affected.get("ranges", ()) if of.get("type") in ("ECOSYSTEM", "SEMVER")]
        return any(_within(version, events, order) for events in ranges)
    except ValueError:
        return True


def _within(version: Any, events: Collection[Mapping[str, str]], order: Callable[[str], Any]) -> bool:
    def at(event: Mapping[str, str]) -> Any:
        (value,) = event.values()
        return order(value)

    affected = False
    for event in sorted((event for event in events if "limit" not in event), key=at):
        if "introduced" in event and version >= at(event):
            affected = True
        elif ("fixed" in event and version >= at(event)) or ("last_affected" in event and version > at(event)):
            affected = False
    return affected


def _python_order(version: str) -> Any:
    """Returns what compares as versions of Python packages do. Raises ValueError."""
    from packaging.version import Version

    return Version("0.dev0" if version == "0" else version)


def _npm_order(version: str) -> tuple[Any, ...]:
    """Returns what compares as https://semver.org/#spec-item-11 says. Raises ValueError."""
    if version == "0":
        return ()
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", version)
    if not match:
        raise ValueError(f"{version!r} is no semantic version")
    identifiers = match[4].split(".") if match[4] else ()
    before = tuple((0, int(of), "") if of.isdigit() else (1, 0, of) for of in identifiers)
    return (*map(int, match.groups()[:3]), before or ((2, 0, ""),))


ORDERS: dict[str, Callable[[str], Any]] = {PYPI: _python_order, NPM: _npm_order}
