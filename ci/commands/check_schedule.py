"""Whether the workflows will go on: schedules, and pushes to the default branch."""

import datetime
import os

from ci.github import incidents, triggers
from ci.github.job import Job
from ci.github.schedule import ENDS_AFTER, schedule
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.formatting import counted
from pipeline.github import client

GROUP = "workflows"

ABOUT = "the end of schedules"
ABOUT_BRANCH = "the default branch"


@command
def check_schedule(config: Config) -> Outcome:
    """Opens an issue before GitHub disables the schedules of an idle repository, and where pushes start no workflow.

    The latter happens when the default branch has another name than the one that the workflows' files wait for.
    """
    repository = client.repository(Job.from_environment(os.environ).repository, config.github_token)
    with client.github_errors("Asking for the last push"):
        pushed, branch = repository.pushed_at, repository.default_branch
    found = schedule(pushed, datetime.datetime.now(datetime.timezone.utc))
    ends = f"{found.ends:%Y-%m-%d}"
    if found.soon:
        line = (
            f"The last push was on {pushed:%Y-%m-%d}. GitHub disables schedules after {ENDS_AFTER.days} days, here on"
            f" {ends}: push a commit, or enable the workflow again afterwards."
        )
        issue = incidents.report(repository, ABOUT, f"Scheduled workflows end on {ends}", line)
        text = f"{line} {issue}"
    else:
        issue = None
        incidents.resolve(repository, ABOUT, f"There was a push: schedules go on until {ends} at least.")
        text = f"Schedules go on until {ends} at least: the last push was {counted(found.idle_days, 'day')} ago."
    wrong, branch_issue = triggers.mismatch(branch), None
    if wrong:
        branch_issue = incidents.report(repository, ABOUT_BRANCH, f"Pushes to {branch} start no workflow", wrong)
        text = f"{text}\n{wrong} {branch_issue}"
    else:
        incidents.resolve(repository, ABOUT_BRANCH, f"The workflows wait for pushes to {branch}.")
    return Outcome(
        text,
        ends=ends,
        soon=found.soon,
        idle_days=found.idle_days,
        issue=issue,
        default_branch=branch,
        branch_issue=branch_issue,
    )
