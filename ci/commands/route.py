"""Decides which branch a push takes."""

import os

import click

from ci.github import deployments, routing
from ci.github.job import Job
from ci.outcome import Outcome, command
from ci.streams import one_line
from pipeline.config import Config
from pipeline.github import client

GROUP = "workflows"


@command
@click.option("--base", metavar="SHA", help="Commit to compare with: the last processed one.")
@click.option("--deployed", is_flag=True, help="Compare with the last commit that was deployed, as GitHub knows it.")
@click.option("--head", metavar="SHA", required=True, help="Commit that was pushed.")
def route(config: Config, base: str | None, deployed: bool, head: str) -> Outcome:
    """Decides which branch a push takes, by the files that differ between two commits.

    Documentation (*.md, docs/, LICENSE, in any folder) counts as nothing. Of the rest: none: no file is left.
    modules-only: all are below modules/. full-codebase: anything else, and unclear cases.
    """
    if deployed == (base is not None):
        raise click.UsageError("One of --base and --deployed is needed.")
    if deployed:
        repository = client.repository(Job.from_environment(os.environ).repository, config.github_token)
        base = deployments.last_deployed(repository) or ""
    chosen = routing.route(base, head)
    return Outcome(f"{chosen.branch}: {one_line(chosen.why)}.", branch=chosen.branch, why=chosen.why, base=base)
