"""Checks the resources on Google Cloud that docs/google-cloud.md creates."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ci.github import clone, triggers
from ci.outcome import Outcome, command
from ci.streams import one_line
from pipeline.config import Config
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.doctor.examine import Check

GROUP = "Google Cloud"

STATES = {True: "ok", False: "MISSING", None: "unknown"}


@command
def doctor(config: Config) -> Outcome:
    """Checks everything on Google Cloud: what is there, what is missing, and the command that fixes it.

    Also whether the workflows wait for pushes to the default branch, as the clone knows it.
    """
    from pipeline.doctor.examine import Check, examine

    checks = [*examine(config), *default_branch(Check)]
    lines: dict[str, None] = {}  # a command that fixes several is shown once
    for check in checks:
        lines[one_line(f"{STATES[check.ok]:<8} {check.name:<19} {check.found or check.problem}")] = None
        lines |= {one_line(f"{'':<28} $ {command}"): None for command in check.fix.splitlines()}
    missing = sum(check.ok is False for check in checks)
    lines[f"{missing} missing: run the commands behind the $, then check again." if missing else "Ready."] = None
    return Outcome(
        "\n".join(lines), exit_code=1 if missing else 0, checks=[dataclasses.asdict(check) for check in checks]
    )


def default_branch(check: "type[Check]") -> "Iterator[Check]":
    """Yields the check of the workflows' branch; nothing where no clone, or no remote, says which one it is."""
    try:
        branch = clone.default_branch(".")
    except UsageError:
        return
    if not branch:
        return
    name, wrong = "default branch", triggers.mismatch(branch)
    if not wrong:
        yield check(name, True, found=f"a push to {branch} starts the workflows")
        return
    files = " ".join(f"{triggers.FOLDER}/{file}" for file in triggers.push_branches())
    escaped = re.sub(r"([/&])", r"\\\1", branch)
    script = shlex.quote(f"s/branches: \\[.*\\]/branches: [{escaped}]/")
    yield check(name, False, problem=wrong, fix=f"sed -i {script} {files}")
