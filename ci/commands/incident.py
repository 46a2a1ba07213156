"""Opens an issue when an unattended run fails; closes it when one passes."""

import datetime
import os

from ci.github import incidents
from ci.github.job import Job, needed
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.formatting import listed, moment
from pipeline.github import client

GROUP = "workflows"


@command
def incident(config: Config) -> Outcome:
    """Opens one issue when a workflow fails, adds to it when it fails again, and closes it when it passes.

    The results of its jobs are in NEEDS.
    """
    job = Job.from_environment(os.environ)
    failed = sorted(name for name, of in needed(os.environ).items() if of.result not in ("success", "skipped"))
    repository = client.repository(job.repository, config.github_token)
    now = moment(datetime.datetime.now(datetime.timezone.utc))
    if failed:
        line = f"{now}: {listed(failed)} failed, {job.run or 'outside of a workflow'}"
        address = incidents.report(repository, job.workflow, f"The workflow {job.workflow} fails", line)
        return Outcome(f"{listed(failed)} failed: {address}", failed=failed, issue=address, closed=[])
    closed = incidents.resolve(repository, job.workflow, f"{now}: passed, {job.run or 'outside of a workflow'}")
    text = f"Passed: closed {listed(closed)}." if closed else "Passed, as before."
    return Outcome(text, failed=[], issue=None, closed=closed)
