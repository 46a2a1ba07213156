"""The last deployed commit, by the deployments that GitHub creates for jobs with an environment."""

import itertools
from typing import TYPE_CHECKING

from pipeline.github import client

if TYPE_CHECKING:
    from github.Repository import Repository

ENVIRONMENT = "vertex-ai"  # of the jobs that submit what was pushed
MOST = 50  # deployments to examine: limits the calls when many in a row have failed or are pending


def last_deployed(repository: "Repository") -> str | None:
    """Returns the commit of the newest deployment that succeeded, None without one."""
    with client.github_errors("Looking for the last deployment"):
        for deployment in itertools.islice(repository.get_deployments(environment=ENVIRONMENT), MOST):
            # the next deployment makes a successful one inactive, so its newest status is not enough
            if any(status.state == "success" for status in deployment.get_statuses()):
                return deployment.sha
    return None
