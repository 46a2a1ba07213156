"""Whether this repository is safe to depend on: known vulnerabilities, licences, and OpenSSF Scorecard's checks."""

import dataclasses

import click

from ci.audit import finding, licences, locks, vulnerabilities
from ci.audit.scorecard import Scorecard
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.formatting import counted

GROUP = ""


@command
@click.option(
    "--advisories", metavar="PATH", help="A copy of a database of OSV: a zip of JSON files, or a folder with such."
)
def audit(config: Config, advisories: str | None) -> Outcome:
    """Checks locked packages, licences and what OpenSSF Scorecard checks, without network.

    Each finding has to be fixed, or to stand with its reason in the table "Accepted findings" of SECURITY.md. Known
    vulnerabilities are looked up only with --advisories: https://google.github.io/osv.dev/data/ says where to get it.
    """
    root = "."
    reasons = finding.accepted(root)
    checks = [*Scorecard(root).checks(), licences.check(root)]
    skipped = []
    if advisories:
        checks.append(vulnerabilities.check(locks.locked(root), advisories))
    else:
        skipped.append(vulnerabilities.NAME)
    lines = finding.compare(checks, reasons, skipped)
    lines += [finding.Line("skipped", name, "needs a database: --advisories PATH") for name in skipped]
    wrong = [line for line in lines if line.state == "FINDING"]
    width = max(len(line.name) for line in lines)
    table = [f"{line.state:8}  {line.name:{width}}  {line.text}" for line in sorted(lines, key=lambda line: line.name)]
    return Outcome(
        "\n".join(
            [*table, "", f"{counted(len(wrong), 'finding')} to fix, or to accept with a reason in {finding.POLICY}."]
        ),
        exit_code=1 if wrong else 0,
        findings=len(wrong),
        checks=[dataclasses.asdict(line) for line in lines],
    )
