"""The check that branch protection requires."""

import os

from ci.github import required_jobs as gates
from ci.github.job import needed
from ci.outcome import Outcome, command
from pipeline.config import Config

GROUP = "workflows"


@command
def gate(config: Config) -> Outcome:
    """Passes when exactly the jobs that the router chose have run and succeeded; reads them from NEEDS."""
    jobs = needed(os.environ)
    problems = list(gates.problems(jobs))
    ran = ", ".join(name for name, job in jobs.items() if job.result == gates.SUCCESS)
    text = "\n".join(f"Not passed: {problem}." for problem in problems) or f"Passed: {ran}."
    return Outcome(text, exit_code=bool(problems) * 1, passed=not problems, problems=problems)
