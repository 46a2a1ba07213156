"""GitHub's responses: JSON, pages with links to the next page, and errors in its own words."""

import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.emulators.services import JSON, Request, Response

MOST_A_PAGE = 100


class GitHubRefused(Exception):
    """An error response: HTTP status, message, and errors of single fields."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self._status, self._body = status, {"message": message, "documentation_url": "https://docs.github.com/rest"}
        self._headers = headers
        if errors:
            self._body["errors"] = list(errors)

    def response(self) -> Response:
        return answer(self._body | {"status": str(self._status)}, self._status, self._headers)


def not_found() -> GitHubRefused:
    return GitHubRefused(404, "Not Found")


def invalid(resource: str, field: str, code: str = "invalid") -> GitHubRefused:
    return GitHubRefused(422, "Validation Failed", [{"resource": resource, "field": field, "code": code}])


def answer(found: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(status, json.dumps(found).encode(), {**JSON, **(headers or {})})


def nothing() -> Response:
    """A successful response without content."""
    return Response(204)


class AuthorizedRequest(NamedTuple):
    """A request whose token has the endpoint's permission, and all permissions of the token."""

    request: Request
    permissions: Mapping[str, str]

    def may(self, scope: str, level: str) -> bool:
        """True when the token has this permission."""
        return allows(self.permissions, scope, level)

    def page(self, found: Sequence[Any], wrap: Callable[[list[Any]], Any] = lambda rows: rows) -> Response:
        """One page of a list, with links to others.

        https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
        """
        query = self.request.parameters()
        size = min(MOST_A_PAGE, max(1, int(query.get("per_page", 30))))
        number = max(1, int(query.get("page", 1)))
        last = -(-len(found) // size)
        before = {"prev": number - 1, "first": 1} if number > 1 else {}
        others = before | ({"next": number + 1, "last": last} if number < last else {})
        address = f"https://{self.request.host}{self.request.path}"
        links = [
            f'<{address}?{urllib.parse.urlencode(query | {"page": other})}>; rel="{relation}"'
            for relation, other in others.items()
        ]
        headers = {"Link": ", ".join(links)} if links else {}
        return answer(wrap(list(found[(number - 1) * size : number * size])), headers=headers)

    def fields(self, resource: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
        """The body's fields, validated against names and types. A name that ends with _ is required."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            raise GitHubRefused(400, "Problems parsing JSON") from None
        known = {name.rstrip("_"): kind for name, kind in types.items()}
        for name in types:
            if name.endswith("_") and body.get(name[:-1]) is None:
                raise invalid(resource, name[:-1], "missing_field")
        for name, value in body.items():
            # Stricter than GitHub, which ignores unknown fields: they are mistakes of the caller.
            if name not in known or not (value is None or isinstance(value, known[name])):
                raise invalid(resource, name)
        return body


def allows(permissions: Mapping[str, str], scope: str, level: str) -> bool:
    """True when permissions such as {"contents": "write"} include "read" or "write" of a scope, or of "any" scope."""
    held = permissions.values() if scope == "any" else [permissions.get(scope)]
    return any(given in ("write", level) for given in held)
