"""The repository on GitHub whose workflows sign in: its numbers, and the variables that its workflows need."""

from pipeline.config import Config
from pipeline.github.client import github_errors, repository
from pipeline.setup.resources import Repository, pool


def read(name: str, token: str) -> Repository:
    """Returns the repository "owner/name"; a private one takes a token that may see it. Raises GitHubRefused."""
    with github_errors(f"Reading the repository {name}"):
        found = repository(name, token)
        return Repository(found.full_name, found.id, found.owner.id, found.default_branch)


def variables(config: Config, project_number: str) -> dict[str, str]:
    """Returns the variables of the repository that cannot be derived from others."""
    provider = pool(config).name.replace(config.project, project_number, 1)
    return {
        "GCP_PROJECT": config.project,
        "GCP_REGION": config.region,
        "WORKSPACE": config.workspace,
        "WORKLOAD_IDENTITY_PROVIDER": f"{provider}/providers/github",
        "RELEASE_TOKEN_SECRET": config.release_token_secret,
    }
