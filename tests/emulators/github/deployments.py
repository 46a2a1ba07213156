"""Deployments, which GitHub creates for each job that names an environment, and their statuses."""

import itertools
from typing import TYPE_CHECKING, Any

from tests.emulators.github.answers import AuthorizedRequest, not_found
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub


class Deployments:
    """Deployments, oldest first."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self._ids = itertools.count(1)
        self.deployments: list[dict[str, Any]] = []
        self._statuses: dict[int, list[str]] = {}

    def add(self, environment: str, sha: str, *states: str) -> None:
        """Adds a deployment of a commit; `states` are its successive statuses, such as in_progress, success."""
        number = next(self._ids)
        address = self._github.address(f"/deployments/{number}")
        self.deployments.append(
            {
                "id": number,
                "url": address,
                "sha": sha,
                "ref": self._github.default_branch,
                "task": "deploy",
                "environment": environment,
                "statuses_url": f"{address}/statuses",
            }
        )
        self._statuses[number] = list(states)

    def endpoints(self) -> list[Endpoint]:
        one = f"{REPOSITORY}/deployments/{{number}}/statuses"
        return [
            Endpoint("GET", f"{REPOSITORY}/deployments", "repos/list-deployments", "deployments:read", self.search),
            Endpoint("GET", one, "repos/list-deployment-statuses", "deployments:read", self.statuses),
        ]

    def search(self, call: AuthorizedRequest) -> Response:
        query = call.request.parameters()
        found = [
            deployment
            for deployment in reversed(self.deployments)
            if all(query.get(name, deployment[name]) == deployment[name] for name in ("environment", "sha", "task"))
        ]
        return call.page(found)

    def statuses(self, call: AuthorizedRequest, number: str) -> Response:
        if int(number) not in self._statuses:
            raise not_found()
        states = list(enumerate(self._statuses[int(number)], 1))
        return call.page([{"id": place, "state": state, "description": ""} for place, state in reversed(states)])
