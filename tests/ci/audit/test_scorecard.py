"""The checks of OpenSSF Scorecard: each that holds for this repository, and a change that it finds."""

import pathlib
import re

import pytest

from ci.audit import scorecard
from ci.audit.scorecard import Scorecard, is_unpinned
from tests.clone import Clone

WANTED = (".github/", "apps/web/package", "cloudbuild/", "tests/workflows/node/", "modules/classification/settings.py")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorecard") / "clone"
    return Clone(folder, lambda name: "/" not in name or name.startswith(WANTED))


@pytest.fixture
def clone(unchanged):
    yield unchanged
    unchanged.git("reset", "--quiet", "--hard")
    unchanged.git("clean", "--quiet", "--force")


def found(clone, check):
    return [(of.subject, of.problem) for of in Scorecard(str(clone.folder)).check(check).findings]


@pytest.mark.parametrize(
    "check, name, old, new",
    [
        ("Branch-Protection", scorecard.RULESET, '"enforcement": "active"', '"enforcement": "evaluate"'),
        ("Branch-Protection", scorecard.RULESET, '{"type": "non_fast_forward"},', ""),
        ("CI-Tests", ".github/workflows/ci.yml", "run: make test\n", "run: make help\n"),
        ("Dangerous-Workflow", ".github/workflows/lint.yml", "run: make lint", 'run: echo "${{ github.head_ref }}"'),
        ("Dangerous-Workflow", ".github/workflows/lint.yml", "  pull_request:\n", "  pull_request_target:\n"),
        ("Dependency-Update-Tool", scorecard.DEPENDABOT, "directory: /apps/web", "directory: /apps/desktop"),
        ("License", "pyproject.toml", 'license = "Apache-2.0"', 'license = "MIT"'),
        (
            "Pinned-Dependencies",
            ".github/workflows/lint.yml",
            "checkout@3d3c42e5aac5ba805825da76410c181273ba90b1",
            "checkout@v7",
        ),
        ("Pinned-Dependencies", "cloudbuild/uv.txt", "--hash=sha256:", "--hash=md5:"),
        ("Pinned-Dependencies", "apps/web/package-lock.json", '"integrity"', '"without"'),
        ("Pinned-Dependencies", scorecard.BUILD, "docker@sha256:3d00b6c1", "docker:latest@sha256:3d00b6c1 # "),
        ("SBOM", ".github/workflows/full-codebase.yml", "path: sbom.json", "path: model.json"),
        ("Security-Policy", "SECURITY.md", "## Report a vulnerability", "## Report"),
        (
            "Signed-Releases",
            ".github/workflows/attest.yml",
            "uses: actions/attest-build-provenance@",
            "uses: actions/attest@",
        ),
        ("Token-Permissions", ".github/workflows/lint.yml", "permissions: {}", "permissions: write-all"),
    ],
)
def test_a_change_for_the_worse_is_found(clone, check, name, old, new):
    before = found(clone, check)
    clone.change(name, old, new)

    new = [of for of in found(clone, check) if of not in before]
    assert new and all(subject in ("", name) for subject, _ in new)


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01", b"MZ\x90\0", b"PK\x03\x04zip", b"\0asm\x01"])
def test_a_program_in_the_tree_is_found(clone, content):
    assert not found(clone, "Binary-Artifacts")
    (clone.folder / "tool").write_bytes(content)
    clone.git("add", "tool")
    assert [subject for subject, _ in found(clone, "Binary-Artifacts")] == ["tool"]


def test_a_requirement_needs_a_checksum():
    assert is_unpinned("uv==0.13.9") and is_unpinned("uv")
    assert not is_unpinned("uv==0.13.9     --hash=sha256:ab") and not is_unpinned("# uv==0.13.9")


def test_each_check_of_scorecard_is_there_but_the_one_with_a_file_of_its_own():
    assert list(scorecard.CHECKS) == sorted(scorecard.CHECKS, key=str.lower) and len(scorecard.CHECKS) == 19


def test_all_steps_of_the_build_are_made_by_one_builder():
    names = re.findall(r"(?m)^ +name: (\S+)$", pathlib.Path(scorecard.BUILD).read_text())
    assert len(names) == 4 and len(set(names)) == 1
