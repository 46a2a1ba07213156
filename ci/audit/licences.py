"""Licences of what is shipped: the packages of the image, by their installed metadata, and those of the web client."""

import importlib.metadata
import re
from collections.abc import Iterator

from ci.audit.finding import Check, Finding
from ci.audit.locks import npm_locks
from pipeline.errors import UsageError
from pipeline.formatting import counted
from pipeline.packaging import image

NAME = "Licences"
WEB = "apps/web/package-lock.json"
# Licences that put terms on what is shipped together with the package. An exception to one lifts them:
# https://spdx.dev/learn/handling-license-info/
COPYLEFT = re.compile(r"GPL|General Public License|Affero", re.I)
EXCEPTION = re.compile(r"\S*GPL\S* WITH \S+", re.I)
LONGEST = 200  # characters; a longer field is the text of the licence, with those of bundled files


def check(root: str) -> Check:
    """Finds packages under the GPL, LGPL or AGPL, and those that name no licence."""
    shipped = [*installed(root), *in_browser(root)]
    wrong = [Finding(NAME, name, problem) for name, licence in shipped if (problem := _problem(licence))]
    return Check(NAME, f"{counted(len(shipped), 'package')} of the image and of the web client", tuple(wrong))


def installed(root: str) -> Iterator[tuple[str, str]]:
    """Yields (package, licence) of the image's packages on this version of Python. Raises UsageError."""
    for name in image.requirements(root):
        try:
            yield name, _licence(importlib.metadata.metadata(name))
        except importlib.metadata.PackageNotFoundError:
            raise UsageError(
                f"{name} of requirements.txt is not installed, so its licence is unknown: run `make install`."
            ) from None


def in_browser(root: str) -> Iterator[tuple[str, str]]:
    """Yields (package, licence) of what the web client downloads."""
    for name, entry in npm_locks(root).get(WEB, ()):
        if not entry.get("dev"):
            yield name, entry.get("license", "")


def _licence(about: importlib.metadata.PackageMetadata) -> str:
    """Returns the licence: https://packaging.python.org/en/latest/specifications/core-metadata/#license-expression"""
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [of for of in about.get_all("Classifier") or () if of.startswith("License :: ")]
    names = [of.rpartition(" :: ")[2] for of in classifiers if of != "License :: OSI Approved"]
    return " AND ".join(names) or (about.get("License") or "")[:LONGEST].strip()


def _problem(licence: str) -> str:
    """Returns what is wrong with a licence, "" for nothing. Of alternatives one has to be right."""
    if not licence or licence.upper() == "UNKNOWN":
        return "names no licence"
    alternatives = [licence] if "(" in licence else re.split(r"\bOR\b", licence)
    if all(COPYLEFT.search(EXCEPTION.sub("", of)) for of in alternatives):
        return " ".join(licence.split())[:LONGEST]
    return ""
