"""Findings, compared with those that SECURITY.md accepts."""

import pytest

from ci.audit.finding import Check, Finding, accepted, compare
from pipeline.errors import UsageError

CHECK = Check("Licences", "2 packages", (Finding("Licences", "a", "GPL"), Finding("Licences", "b", "AGPL")))


def states(*reasons, skipped=()):
    return {line.name: line.state for line in compare([CHECK], dict.fromkeys(reasons, "why"), skipped)}


def test_a_finding_without_a_reason_stays_one():
    assert states("Licences: a") == {"Licences: a": "accepted", "Licences: b": "FINDING"}


def test_a_reason_for_a_whole_check_accepts_no_single_subject():
    assert states("Licences")["Licences: a"] == "FINDING"


def test_a_reason_without_its_finding_is_one_unless_its_check_was_skipped():
    assert states("Licences: gone")["Licences: gone"] == "FINDING"
    assert states("Typo")["Typo"] == "FINDING"
    assert "Vulnerabilities: x" not in states("Vulnerabilities: x", skipped=["Vulnerabilities"])


def test_reasons_are_read_from_their_table_alone(tmp_path):
    table = "\n## Accepted findings\n\n| finding | reason |\n|---|---|\n| `Licences: a` | It is | so. |\n"
    (tmp_path / "SECURITY.md").write_text(f"# Security\n| `B` | no |\n{table}\n## Next\n| `C` | no |\n")
    assert accepted(str(tmp_path)) == {"Licences: a": "It is | so."}
    (tmp_path / "SECURITY.md").write_text("# Security\n")
    with pytest.raises(UsageError, match="Accepted findings"):
        accepted(str(tmp_path))
