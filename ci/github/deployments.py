"""Which commit is deployed: GitHub keeps a deployment for each job that names an environment."""

import itertools
from typing import TYPE_CHECKING

from pipeline.github import client

if TYPE_CHECKING:
    from github.Repository import Repository

ENVIRONMENT = "vertex-ai"  # of the jobs that submit what was pushed
MOST = 50  # deployments looked at: so many that failed or wait, one after another


def last_deployed(repository: "Repository") -> str | None:
    """Returns the commit of the newest deployment that succeeded, None without one."""
    with client.github_errors("Looking for the last deployment"):
        for deployment in itertools.islice(repository.get_deployments(environment=ENVIRONMENT), MOST):
            # an older one that succeeded was made inactive by the next, so its newest status does not tell
            if any(status.state == "success" for status in deployment.get_statuses()):
                return deployment.sha
    return None
