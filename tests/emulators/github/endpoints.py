"""One method of GitHub's API, and one call of it."""

from collections.abc import Callable
from typing import NamedTuple

from tests.emulators.services import Request, Response

REPOSITORY = "/repos/{owner}/{repo}"


class Endpoint(NamedTuple):
    """`handler(asked, **parts of the path)` answers; `permission` is "contents:write" and so on, "" for none."""

    verb: str
    path: str
    method: str  # as GitHub's description of its API names it: "repos/create-release"
    permission: str
    handler: Callable[..., Response]


class Exchange(NamedTuple):
    """A call that found its method, and what it was answered."""

    endpoint: Endpoint
    request: Request
    response: Response
