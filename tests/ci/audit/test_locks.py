"""The packages of this repository's own lock files."""

from ci.audit import locks
from ci.audit.locks import NPM, PYPI
from tests.clone import ROOT


def test_both_lines_of_tfx_and_each_client_are_read():
    found = locks.locked(str(ROOT))

    assert {package.version for package in found if package.name == "tfx"} == {"1.16.0", "1.21.0"}
    assert any(package.ecosystem == NPM and package.name == "@litertjs/core" for package in found)
    assert sum(package.ecosystem == PYPI for package in found) > 300
    assert not [package for package in found if "node_modules" in package.name or not package.version]
