"""Starts another workflow."""

import os

import click

from ci.github.job import Job
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.github import client

GROUP = "workflows"


@command
@click.argument("workflow")
@click.option(
    "--input", "inputs", metavar="NAME=VALUE", multiple=True, help="An input of the workflow; may be repeated."
)
def dispatch(config: Config, workflow: str, inputs: tuple[str, ...]) -> Outcome:
    """Starts the workflow in the file WORKFLOW, such as evaluation.yml, on this branch.

    Outside of a workflow it is the default branch.
    """
    given = dict(pair.partition("=")[::2] for pair in inputs)
    if unnamed := [pair for pair in inputs if not pair.partition("=")[0] or "=" not in pair]:
        raise click.BadParameter(f"{unnamed[0]!r} is not NAME=VALUE.", param_hint="'--input'")
    job = Job.from_environment(os.environ)
    repository = client.repository(job.repository, config.github_token)
    with client.github_errors(f"Starting {workflow}"):
        branch = job.branch or repository.default_branch
        repository.get_workflow(workflow).create_dispatch(branch, given, throw=True)
    return Outcome(f"{workflow} was started on {branch}.", workflow=workflow, branch=branch, inputs=given)
