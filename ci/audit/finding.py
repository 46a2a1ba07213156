"""What an audit finds, and the table of SECURITY.md that accepts some of it with a reason."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from pipeline.errors import UsageError

POLICY = "SECURITY.md"
_ROW = re.compile(r"^\| `([A-Z][^`]*)` \| (.+) \|$", re.M)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a check found to be wrong. `subject` is "" where it is about the whole repository."""

    check: str
    subject: str
    problem: str

    @property
    def key(self) -> str:
        """Returns the name of the finding in the table of accepted ones, such as "Licences: pygithub"."""
        return f"{self.check}: {self.subject}" if self.subject else self.check


@dataclasses.dataclass(frozen=True)
class Check:
    """The result of a check: it holds when it has no finding. `about` says in words what was checked."""

    name: str
    about: str
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the audit's result; `state` is "holds", "accepted" or "FINDING"."""

    state: str
    name: str
    text: str


def accepted(root: str) -> dict[str, str]:
    """Returns the reasons of the table "Accepted findings" in SECURITY.md, by the finding's key. Raises UsageError."""
    policy = pathlib.Path(root, POLICY)
    written = policy.read_text(encoding="utf-8") if policy.is_file() else ""
    _, heading, rest = written.partition("\n## Accepted findings\n")
    if not heading:
        raise UsageError(f'{POLICY} has no section "Accepted findings": run this in the folder of a clone that has it.')
    return dict(_ROW.findall(rest.partition("\n## ")[0]))


def compare(checks: Sequence[Check], reasons: Mapping[str, str], skipped: Collection[str] = ()) -> list[Line]:
    """Compares findings with accepted ones; a reason without its finding is a finding, too.

    `skipped` are names of checks that were not made, whose reasons stand.
    """
    lines = []
    for check in checks:
        if not check.findings:
            lines.append(Line("holds", check.name, check.about))
        for key, problem in _by_key(check.findings).items():
            lines.append(Line("accepted" if key in reasons else "FINDING", key, problem))
    found = {finding.key for check in checks for finding in check.findings}
    idle = [key for key in reasons if key not in found and key.partition(": ")[0] not in skipped]
    return lines + [Line("FINDING", key, f"{POLICY} accepts it, but no check finds it: remove the row") for key in idle]


def _by_key(findings: Iterable[Finding]) -> dict[str, str]:
    """Returns the problems by key; several of one key share a line."""
    together: dict[str, list[str]] = {}
    for finding in findings:
        together.setdefault(finding.key, []).append(finding.problem)
    return {key: "; ".join(dict.fromkeys(problems)) for key, problems in together.items()}
