"""Licences of packages, from metadata as packages have them."""

import importlib.metadata
import json

import pytest

from ci.audit import licences
from ci.audit.finding import Finding
from pipeline.errors import UsageError
from tests.clone import Clone

NEEDED = ("requirements.txt", "apps/web/package-lock.json", "modules/classification/settings.py")


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "clone", lambda name: name in NEEDED)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs the metadata of a package for this test."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def write(name, *fields):
        folder = tmp_path / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *fields]))
        importlib.invalidate_caches()

    return write


@pytest.mark.parametrize(
    "fields",
    [
        ["License-Expression: GPL-3.0-or-later"],
        ["License-Expression: MIT AND LGPL-2.1-only"],
        ["License-Expression: MIT OR (GPL-2.0-only AND Apache-2.0)"],
        ["License: AGPL-3.0"],
        ["Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "License: see file"],
        ["Classifier: License :: OSI Approved :: MIT License", "Classifier: License :: OSI Approved :: GNU GPL"],
        ["License: UNKNOWN"],
        [],
    ],
)
def test_a_shipped_package_with_terms_or_without_a_licence_is_found(clone, install, fields):
    install("strict", *fields)
    clone.append("requirements.txt", "strict==1.0")

    assert "strict" in [found.subject for found in licences.check(str(clone.folder)).findings]


@pytest.mark.parametrize(
    "fields",
    [
        ["License-Expression: Apache-2.0"],
        ["License-Expression: MIT OR GPL-2.0-only"],
        ["License-Expression: BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1"],
        [
            "Classifier: License :: OSI Approved :: BSD License",
            "License: BSD, and a bundled file: GPL with an exception",
        ],
        ["License: MPL-2.0"],
    ],
)
def test_a_permissive_one_is_not(clone, install, fields):
    install("free", *fields)
    clone.append("requirements.txt", "free==1.0")

    assert "free" not in [found.subject for found in licences.check(str(clone.folder)).findings]


def test_a_requirement_of_another_python_does_not_count_and_one_that_is_missing_is_named(clone):
    clone.append("requirements.txt", "absent==1.0 ; python_version < '3'")
    licences.check(str(clone.folder))
    clone.append("requirements.txt", "absent==1.0")
    with pytest.raises(UsageError, match="absent of requirements.txt is not installed"):
        licences.check(str(clone.folder))


def test_the_web_client_counts_and_what_builds_it_does_not(clone):
    path = clone.folder / licences.WEB
    lock = json.loads(path.read_text())
    lock["packages"]["node_modules/shipped"] = {"version": "1.0.0", "license": "GPL-3.0"}
    lock["packages"]["node_modules/builder"] = {"version": "1.0.0", "license": "GPL-3.0", "dev": True}
    path.write_text(json.dumps(lock))

    found = licences.check(str(clone.folder)).findings
    assert Finding("Licences", "shipped", "GPL-3.0") in found
    assert "builder" not in [of.subject for of in found]
