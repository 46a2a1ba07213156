"""Turns a repository's variables into settings of a job."""

import os

from ci.github import variables
from ci.github.job import Job
from ci.outcome import Outcome, append, command, step_outputs
from pipeline.config import Config

GROUP = "workflows"


@command
def use_variables(config: Config) -> Outcome:
    """Makes a repository's variables, in VARIABLES as JSON, settings of the following steps of a job.

    Shows whether Google Cloud is configured, and which variables are missing.
    """
    repository = Job.from_environment(os.environ).repository
    found = variables.settings(variables.read(os.environ.get("VARIABLES", "")), repository)
    append("GITHUB_ENV", step_outputs(dict(found.environment)))
    if found.configured:
        text = "Google Cloud is configured."
    else:
        lines = [f"  {name}: {variables.NEEDED[name]}" for name in found.missing]
        text = "\n".join(["Google Cloud is not configured, so nothing goes there. Not set (docs/github.md):", *lines])
    return Outcome(text, configured=found.configured, missing=list(found.missing), settings=sorted(found.environment))
