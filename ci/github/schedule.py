"""The end of schedules: GitHub disables them in public repositories and forks after 60 days without a push."""

import datetime
from dataclasses import dataclass

# https://docs.github.com/actions/how-tos/manage-workflow-runs/disable-and-enable-workflows
ENDS_AFTER = datetime.timedelta(days=60)
WARNS_BEFORE = datetime.timedelta(days=14)


@dataclass(frozen=True)
class Schedule:
    """The time when schedules end unless a push comes first."""

    ends: datetime.datetime  # UTC
    soon: bool
    idle_days: int


def schedule(pushed: datetime.datetime, now: datetime.datetime) -> Schedule:
    """Computes the end from the time of the last push; both times have a time zone."""
    ends = pushed.astimezone(datetime.timezone.utc) + ENDS_AFTER
    return Schedule(ends, soon=now >= ends - WARNS_BEFORE, idle_days=max(0, (now - pushed).days))
