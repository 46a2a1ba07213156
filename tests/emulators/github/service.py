"""GitHub: releases, workflows, pull requests, issues and deployments of one repository, with access control.

Each part has `endpoints()`; this file checks what all share: the token, the repository and the permission. A token has
the permissions of a workflow's job; a user's token has all.
"""

import functools
import secrets
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.emulators.github.about import About
from tests.emulators.github.actions import Actions
from tests.emulators.github.answers import AuthorizedRequest, GitHubRefused, allows, not_found
from tests.emulators.github.attestations import Attestations
from tests.emulators.github.deployments import Deployments
from tests.emulators.github.endpoints import REPOSITORY, Endpoint, Exchange
from tests.emulators.github.issues import Issues
from tests.emulators.github.limits import Limits
from tests.emulators.github.pulls import Pulls
from tests.emulators.github.releases import DOWNLOADS, PAGES, UPLOADS, Releases
from tests.emulators.services import Caller, Request, Response, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

BY_ID = "/repositories/{repository_id}"  # where redirects of a renamed repository lead
SCOPES = ("actions", "attestations", "contents", "deployments", "issues", "pull-requests", "workflows")


class GitHub(Service):
    """One repository on GitHub."""

    name = "github"
    hosts = ("api.github.com", PAGES, UPLOADS, DOWNLOADS, "*.actions.githubusercontent.com")
    repository = "acme/widget"
    default_branch = "main"

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._lock = threading.RLock()  # serialises calls
        self.reset()

    def reset(self) -> None:
        self._tokens: dict[str, dict[str, str]] = {}
        self.exchanges: list[Exchange] = []  # without faults and rate limits
        self.limits = Limits()
        self.former_names: set[str] = set()  # of the repository, which was renamed: "acme/gadget"
        self.proxy: Iterator[Response | None] = iter(())  # its responses to the next calls; None: the call passes
        self.replaced: dict[bytes, bytes] = {}  # texts in bodies that the proxy replaces
        self.about = About(self)
        self.actions = Actions(self, self._cloud)
        self.attestations = Attestations(self)
        self.deployments = Deployments(self)
        self.issues = Issues(self)
        self.pulls = Pulls(self)
        self.releases = Releases(self)

    def token(self, **permissions: str) -> str:
        """A token with these permissions, such as pull_requests="write"; without any a user's token, which has all."""
        given = {scope.replace("_", "-"): level for scope, level in permissions.items()}
        token = f"ghs_{secrets.token_hex(18)}"
        self._tokens[token] = given or dict.fromkeys(SCOPES, "write")
        return token

    def address(self, path: str) -> str:
        """An address of the API below this repository."""
        return f"https://api.github.com/repos/{self.repository}{path}"

    def page(self, path: str) -> str:
        """An address of a web page of this repository."""
        return f"https://github.com/{self.repository}{path}"

    def routes(self) -> list[Route]:
        # `reset` recreates the parts, so each call looks them up.
        return Releases.routes(self) + [
            Route(
                endpoint.verb,
                path,
                endpoint.method,
                functools.partial(self._perform, part, place),
                authenticated=False,
            )
            for part in self.parts()
            for place, endpoint in enumerate(getattr(self, part).endpoints())
            for path in dict.fromkeys((endpoint.path, endpoint.path.replace(REPOSITORY, BY_ID)))
        ]

    def parts(self) -> list[str]:
        return ["about", "actions", "attestations", "deployments", "issues", "limits", "pulls", "releases"]

    def _perform(self, part: str, place: int, request: Request, caller: Caller, /, **names: str) -> Response:
        with self._lock:
            endpoint: Endpoint = getattr(self, part).endpoints()[place]
            if limited := next(self.proxy, None) or (part != "limits" and self.limits.take()):
                return limited
            try:
                response = endpoint.handler(
                    self._authorized(endpoint, request), **self._without_repository(request, names)
                )
            except GitHubRefused as refused:
                response = refused.response()
            self.exchanges.append(Exchange(endpoint, request, response))
            for text, other in self.replaced.items():
                response = response._replace(body=response.body.replace(text, other))
            return response

    def _without_repository(self, request: Request, names: dict[str, str]) -> dict[str, Any]:
        """Raises a redirect for a former name of the repository.

        https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
        """
        name = f"{names.pop('owner')}/{names.pop('repo')}" if "owner" in names else self.repository
        if name in self.former_names:
            path = request.path.replace(f"/repos/{name}", "/repositories/1", 1)
            where = {"Location": f"https://{request.host}{path}{'?' if request.query else ''}{request.query}"}
            if request.verb == "GET":
                raise GitHubRefused(301, "Moved Permanently", headers=where)
            raise GitHubRefused(307, "Temporary Redirect", headers=where)
        if name.lower() != self.repository or names.pop("repository_id", "1") != "1":
            raise not_found()
        return names

    def _authorized(self, endpoint: Endpoint, request: Request) -> AuthorizedRequest:
        if not request.headers.get("user-agent"):
            raise GitHubRefused(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header."
            )
        if not endpoint.permission:
            return AuthorizedRequest(request, {})
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or token not in self._tokens:
            raise GitHubRefused(401, "Bad credentials" if token else "Requires authentication")
        scope, _, level = endpoint.permission.partition(":")
        if not allows(self._tokens[token], scope, level):
            accepted = {"X-Accepted-GitHub-Permissions": f"{scope.replace('-', '_')}={level}"}
            raise GitHubRefused(403, "Resource not accessible by integration", headers=accepted)
        return AuthorizedRequest(request, self._tokens[token])
