"""The workflow job that a command runs in, read from GitHub's environment variables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import UsageError


@dataclass(frozen=True)
class Job:
    """Repository, workflow and run of a command."""

    repository: str  # "owner/name"
    workflow: str  # its name
    branch: str  # "" outside of a workflow
    run: str  # address of the run's page, "" outside of a workflow

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Job":
        """Reads GitHub's variables. Raises UsageError without GITHUB_REPOSITORY."""
        repository = environ.get("GITHUB_REPOSITORY", "")
        if not repository:
            raise UsageError("GITHUB_REPOSITORY is not set: set it to owner/name, as a workflow has it.")
        server, number = environ.get("GITHUB_SERVER_URL", "https://github.com"), environ.get("GITHUB_RUN_ID", "")
        return cls(
            repository,
            environ.get("GITHUB_WORKFLOW", ""),
            environ.get("GITHUB_REF_NAME", ""),
            f"{server}/{repository}/actions/runs/{number}" if number else "",
        )


@dataclass(frozen=True)
class Needed:
    """A job that another one needs: its result ("success", "failure", "cancelled" or "skipped") and outputs."""

    result: str
    outputs: Mapping[str, str]


def needed(environ: Mapping[str, str]) -> dict[str, Needed]:
    """Reads NEEDS, which a workflow sets to `${{ toJSON(needs) }}`. Raises UsageError."""
    try:
        jobs = json.loads(environ.get("NEEDS", ""))
        return {name: Needed(job["result"], job.get("outputs") or {}) for name, job in jobs.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError("NEEDS is not what `${{ toJSON(needs) }}` gives: set it so in the workflow.") from None
