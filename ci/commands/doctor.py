"""Checks the resources on Google Cloud that docs/google-cloud.md creates."""

import dataclasses

from ci.outcome import Outcome, command
from ci.streams import one_line
from pipeline.config import Config

GROUP = "Google Cloud"

STATES = {True: "ok", False: "MISSING", None: "unknown"}


@command
def doctor(config: Config) -> Outcome:
    """Checks everything on Google Cloud: what is there, what is missing, and the command that fixes it."""
    from pipeline.doctor.examine import examine

    checks = examine(config)
    lines: dict[str, None] = {}  # a command that fixes several is shown once
    for check in checks:
        lines[one_line(f"{STATES[check.ok]:<8} {check.name:<19} {check.found or check.problem}")] = None
        lines |= {one_line(f"{'':<28} $ {command}"): None for command in check.fix.splitlines()}
    missing = sum(check.ok is False for check in checks)
    lines[f"{missing} missing: paste what stands behind the $, then look again." if missing else "Ready."] = None
    return Outcome(
        "\n".join(lines), exit_code=1 if missing else 0, checks=[dataclasses.asdict(check) for check in checks]
    )
