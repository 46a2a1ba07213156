"""Checks the commit whose code a button shall run, before anything of it is checked out."""

import re

import click

from ci.github import clone
from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.errors import UsageError

GROUP = "workflows"


@command
@click.option("--commit", "named", metavar="SHA", default="", help="Full name of a commit; empty for the one at hand.")
@click.option("--branch", required=True, help="Default branch, which has to contain the commit.")
def choose_commit(config: Config, named: str, branch: str) -> Outcome:
    """Prints the full name of the commit whose code a workflow may run; refuses all that are not on the branch.

    GitHub hands out by its name any commit of the repository's network, those of forks and of closed pull requests
    included. A short name may become another commit's, so only full ones are taken.
    """
    if named and not re.fullmatch("[0-9a-f]{40}", named):
        raise UsageError(f"{named!r} is not the full name of a commit, 40 hexadecimal digits: see `git rev-parse`.")
    commit = clone.commit(".", named or "HEAD")
    if commit is None or not clone.is_ancestor(".", commit, branch):
        raise UsageError(f"The commit {commit or named} is not on {branch}: merge it, or name one that is.")
    return Outcome(f"Chosen: {commit}, which is on {branch}.", commit=commit)
