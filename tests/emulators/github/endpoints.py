"""Types for a method of GitHub's API and for a call of it."""

from collections.abc import Callable
from typing import NamedTuple

from tests.emulators.services import Request, Response

REPOSITORY = "/repos/{owner}/{repo}"


class Endpoint(NamedTuple):
    """`handler(call, **parts of the path)` returns the response; `permission` is such as "contents:write", or ""."""

    verb: str
    path: str
    method: str  # operation ID in GitHub's OpenAPI description: "repos/create-release"
    permission: str
    handler: Callable[..., Response]


class Exchange(NamedTuple):
    """A request to an endpoint, and its response."""

    endpoint: Endpoint
    request: Request
    response: Response
