"""GitHub ends the schedules of a repository in which nothing happens: 60 days, in public ones and in forks."""

import datetime
from dataclasses import dataclass

# https://docs.github.com/actions/how-tos/manage-workflow-runs/disable-and-enable-workflows
ENDS_AFTER = datetime.timedelta(days=60)
WARNS_BEFORE = datetime.timedelta(days=14)


@dataclass(frozen=True)
class Schedule:
    """How long the schedules go on if nobody pushes."""

    ends: datetime.datetime  # UTC
    soon: bool
    idle_days: int


def schedule(pushed: datetime.datetime, now: datetime.datetime) -> Schedule:
    """Reckons from the last push to the repository; both times have a time zone."""
    ends = pushed.astimezone(datetime.timezone.utc) + ENDS_AFTER
    return Schedule(ends, soon=now >= ends - WARNS_BEFORE, idle_days=max(0, (now - pushed).days))
