"""Will the scheduled workflows go on?"""

import datetime
import os

from ci.github import incidents
from ci.github.job import Job
from ci.github.schedule import ENDS_AFTER, schedule
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.formatting import counted
from pipeline.github import client

GROUP = "workflows"

ABOUT = "the end of schedules"


@command
def check_schedule(config: Config) -> Outcome:
    """Warns in an issue before GitHub ends the scheduled workflows, because nobody has pushed for long."""
    repository = client.repository(Job.from_environment(os.environ).repository, config.github_token)
    with client.github_errors("Asking when somebody pushed last"):
        pushed = repository.pushed_at
    found = schedule(pushed, datetime.datetime.now(datetime.timezone.utc))
    ends = f"{found.ends:%Y-%m-%d}"
    if found.soon:
        line = (
            f"Nobody has pushed since {pushed:%Y-%m-%d}. GitHub ends schedules after {ENDS_AFTER.days} days, here on"
            f" {ends}: push a commit, or enable the workflow again afterwards."
        )
        issue = incidents.report(repository, ABOUT, f"Scheduled workflows end on {ends}", line)
        text = f"{line} {issue}"
    else:
        issue = None
        incidents.resolve(repository, ABOUT, f"Somebody has pushed: schedules go on until {ends} at least.")
        text = f"Schedules go on until {ends} at least: the last push was {counted(found.idle_days, 'day')} ago."
    return Outcome(text, ends=ends, soon=found.soon, idle_days=found.idle_days, issue=issue)
