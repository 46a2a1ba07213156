"""Pull requests and their commits."""

from typing import TYPE_CHECKING, Any

from tests.emulators.github.answers import AuthorizedRequest, answer, not_found
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub


class Pulls:
    """Pull requests by number."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self._pulls: dict[int, dict[str, Any]] = {}

    def propose(self, number: int, head: str, base: str, fork: str = "") -> dict[str, Any]:
        """Opens or updates a pull request of the commit `head`, from the repository `fork` if given."""
        repository = self._github.repository
        self._github.issues.threads.add(number)
        self._pulls[number] = {
            "url": self._github.address(f"/pulls/{number}"),
            "html_url": self._github.page(f"/pull/{number}"),
            "issue_url": self._github.address(f"/issues/{number}"),
            "number": number,
            "state": "open",
            "head": {"sha": head, "ref": "change", "repo": {"full_name": fork or repository}},
            "base": {"sha": base, "ref": self._github.default_branch, "repo": {"full_name": repository}},
        }
        return self._pulls[number]

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", f"{REPOSITORY}/pulls/{{number}}", "pulls/get", "pull-requests:read", self.get)]

    def get(self, call: AuthorizedRequest, number: str) -> Response:
        if not number.isdigit() or int(number) not in self._pulls:
            raise not_found()
        return answer(self._pulls[int(number)])
