"""The audit of this repository, as people run it."""

import json


def test_every_finding_here_is_accepted_with_a_reason(ci):
    done = ci("audit", "--json")

    assert (done.code, done.json["findings"]) == (0, 0), done.err
    states = {line["name"]: line["state"] for line in done.json["checks"]}
    assert states["Token-Permissions"] == "holds" and states["Vulnerabilities"] == "skipped"
    assert states["Licences: pygithub"] == "accepted"
    assert set(done.json) == {"findings", "checks"}


def test_a_vulnerability_fails(ci, tmp_path):
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "tfx"}, "ranges": ranges}]
    advisory = {"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z", "summary": "Breaks in", "affected": affected}
    (tmp_path / "GHSA-1.json").write_text(json.dumps(advisory))

    done = ci("audit", "--advisories", tmp_path)

    assert done.code == 1
    assert "FINDING   Vulnerabilities: tfx GHSA-1" in done.out and "1.16.0: Breaks in" in done.out
