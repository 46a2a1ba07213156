"""A small database in the format of OSV, against packages."""

import json
import zipfile

import pytest

from ci.audit import vulnerabilities
from ci.audit.locks import NPM, PYPI, Package
from ci.audit.vulnerabilities import check, is_affected
from pipeline.errors import UsageError

# Fields as https://ossf.github.io/osv-schema/ has them.
ADVISORY = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "modified": "2026-01-02T03:04:05Z",
    "aliases": ["CVE-2026-1", "PYSEC-2026-1"],
    "summary": "It does too much",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Some_Package"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.10"}]}],
        }
    ],
}
USED = Package(PYPI, "some-package", "1.9.2")


def saved(folder, *advisories):
    for number, advisory in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(advisory))
    return str(folder)


def test_a_version_before_the_fix_is_found(tmp_path):
    result = check([USED, Package(PYPI, "other", "1.0")], saved(tmp_path, ADVISORY))

    (found,) = result.findings
    assert (found.key, found.problem) == ("Vulnerabilities: some-package CVE-2026-1", "1.9.2: It does too much")
    assert result.about == "2 locked packages, 1 advisory until 2026-01-02"


def test_the_fixed_version_is_not(tmp_path):
    assert not check([USED._replace(version="1.10")], saved(tmp_path, ADVISORY)).findings


def test_the_same_name_in_another_ecosystem_is_another_package(tmp_path):
    assert not check([USED._replace(ecosystem=NPM)], saved(tmp_path, ADVISORY)).findings


def test_one_vulnerability_in_two_databases_is_one_finding(tmp_path):
    other = ADVISORY | {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"]}
    assert len(check([USED], saved(tmp_path, ADVISORY, other)).findings) == 1


def test_a_withdrawn_advisory_does_not_count(tmp_path):
    withdrawn = ADVISORY | {"withdrawn": "2026-01-03T00:00:00Z"}
    assert not check([USED], saved(tmp_path, withdrawn, ADVISORY | {"affected": []})).findings


def test_zips_in_a_folder_are_read_as_one_database(tmp_path):
    for name in ("PyPI", "npm"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.json", json.dumps(ADVISORY | {"id": name}))
    assert {advisory["id"] for advisory in vulnerabilities.read(str(tmp_path))} == {"PyPI", "npm"}


def test_a_database_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no advisories"):
        check([USED], str(tmp_path))
    (tmp_path / "all.zip").write_bytes(b"<html>")
    with pytest.raises(UsageError, match="cannot be read as a zip"):
        check([USED], str(tmp_path))
    with pytest.raises(UsageError, match="cannot be read as a zip"):
        check([USED], str(tmp_path / "missing.zip"))


def affected(*events, kind="ECOSYSTEM", versions=()):
    return {"ranges": [{"type": kind, "events": list(events)}], "versions": list(versions)}


@pytest.mark.parametrize(
    "version, entry, expected",
    [
        ("1.9", affected({"introduced": "1.2"}, {"fixed": "1.9"}), False),
        ("1.9", affected({"introduced": "1.2"}, {"last_affected": "1.9"}), True),
        ("1.9.1", affected({"introduced": "1.2"}, {"last_affected": "1.9"}), False),
        ("1.0rc1", affected({"introduced": "0"}, {"fixed": "1.0"}), True),
        ("2.5", affected({"fixed": "2.3"}, {"introduced": "2.5"}, {"introduced": "0"}, {"fixed": "2.6"}), True),
        ("2.4", affected({"fixed": "2.3"}, {"introduced": "2.5"}, {"introduced": "0"}, {"fixed": "2.6"}), False),
        ("3.0", affected({"introduced": "0"}, {"limit": "4.0"}), True),
        ("3.0", affected({"introduced": "4.0"}, versions=["3.0"]), True),
        ("3.0", affected({"introduced": "0"}, kind="GIT"), False),
        ("3.0", affected({"introduced": "0"}, {"fixed": "not a version"}), True),
    ],
)
def test_ranges_are_evaluated_as_the_schema_says(version, entry, expected):
    assert is_affected(Package(PYPI, "x", version), entry) is expected


@pytest.mark.parametrize(
    "earlier, later",
    # https://semver.org/#spec-item-11
    [
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-alpha.beta"),
        ("1.0.0-beta.2", "1.0.0-beta.11"),
        ("1.0.0-rc.1", "1.0.0"),
        ("1.9.0", "1.10.0"),
        ("0", "0.0.1"),
    ],
)
def test_versions_of_npm_are_semantic(earlier, later):
    fixed = affected({"introduced": "0"}, {"fixed": later}, kind="SEMVER")
    assert earlier == "0" or is_affected(Package(NPM, "x", earlier), fixed)
    assert not is_affected(Package(NPM, "x", later), fixed)
    assert not is_affected(Package(NPM, "x", f"{later}+build"), fixed)
