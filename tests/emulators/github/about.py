"""The repository itself."""

import datetime
from typing import TYPE_CHECKING

from tests.emulators.github.answers import AuthorizedRequest, answer
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub


class About:
    """The repository's description; `pushed` is the time of the last push."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self.pushed = datetime.datetime.now(datetime.timezone.utc)
        self.rules: list[str] = []  # types of the active rules of the default branch
        self.administrator = False  # whether the account of every token is one
        # what GitHub says about a token: when it ends, and the scopes of a classic one
        self.token_headers: dict[str, str] = {}

    def endpoints(self) -> list[Endpoint]:
        rules = f"{REPOSITORY}/rules/branches/{{branch}}"
        return [
            Endpoint("GET", REPOSITORY, "repos/get", "any:read", self.get),
            Endpoint("GET", rules, "repos/get-branch-rules", "any:read", self.branch_rules),
        ]

    def branch_rules(self, call: AuthorizedRequest, branch: str) -> Response:
        """The active rules of a branch, which need not exist."""
        rules = self.rules if branch == self._github.default_branch else []
        source = {"ruleset_source_type": "Repository", "ruleset_source": self._github.repository, "ruleset_id": 1}
        found = [{"type": kind, **source} for kind in rules]
        return call.page(found)

    def get(self, call: AuthorizedRequest) -> Response:
        owner, name = self._github.repository.split("/")
        found = {
            "id": 1,
            "name": name,
            "full_name": self._github.repository,
            "owner": {"login": owner, "id": 1},
            "private": False,
            "default_branch": self._github.default_branch,
            "pushed_at": f"{self.pushed:%Y-%m-%dT%H:%M:%SZ}",
            "permissions": {"admin": self.administrator, "maintain": False, "push": True, "triage": True, "pull": True},
            "url": self._github.address(""),
            "html_url": self._github.page(""),
        }
        return answer(found, headers=self.token_headers)
