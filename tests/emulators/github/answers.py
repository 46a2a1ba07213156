"""How GitHub answers: JSON, pages with links to the next, and refusals in its own words."""

import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.emulators.services import JSON, Request, Response

MOST_A_PAGE = 100


class GitHubRefused(Exception):
    """A refusal: HTTP status, message, and what GitHub says of single fields."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self._status, self._told = status, {"message": message, "documentation_url": "https://docs.github.com/rest"}
        self._headers = headers
        if errors:
            self._told["errors"] = list(errors)

    def response(self) -> Response:
        return answer(self._told | {"status": str(self._status)}, self._status, self._headers)


def not_found() -> GitHubRefused:
    return GitHubRefused(404, "Not Found")


def invalid(resource: str, field: str, code: str = "invalid") -> GitHubRefused:
    return GitHubRefused(422, "Validation Failed", [{"resource": resource, "field": field, "code": code}])


def answer(found: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON with a status."""
    return Response(status, json.dumps(found).encode(), {**JSON, **(headers or {})})


def nothing() -> Response:
    """Done, and nothing to be said."""
    return Response(204)


class Asked(NamedTuple):
    """A call whose token and permission are fine: the request, and the token's permissions."""

    request: Request
    permissions: Mapping[str, str]

    def may(self, scope: str, level: str) -> bool:
        """True when the token has this permission."""
        return allows(self.permissions, scope, level)

    def page(self, found: Sequence[Any], wrap: Callable[[list[Any]], Any] = lambda rows: rows) -> Response:
        """One page of a list, with links to the others."""
        query = self.request.parameters()
        size = min(MOST_A_PAGE, max(1, int(query.get("per_page", 30))))
        number = max(1, int(query.get("page", 1)))
        links = {}
        if number * size < len(found):
            following = urllib.parse.urlencode(query | {"page": number + 1})
            links["Link"] = f'<https://{self.request.host}{self.request.path}?{following}>; rel="next"'
        return answer(wrap(list(found[(number - 1) * size : number * size])), headers=links)

    def fields(self, resource: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
        """The body's fields, which may be these and have to have their types. A name ending in _ has to be there."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            raise GitHubRefused(400, "Problems parsing JSON") from None
        known = {name.rstrip("_"): kind for name, kind in types.items()}
        for name in types:
            if name.endswith("_") and body.get(name[:-1]) is None:
                raise invalid(resource, name[:-1], "missing_field")
        for name, value in body.items():
            # GitHub passes over what it does not know. Here that is a mistake of the caller.
            if name not in known or not (value is None or isinstance(value, known[name])):
                raise invalid(resource, name)
        return body


def allows(permissions: Mapping[str, str], scope: str, level: str) -> bool:
    """True when permissions such as {"contents": "write"} include a scope's level, "read" or "write"; "any" is each."""
    held = permissions.values() if scope == "any" else [permissions.get(scope)]
    return any(given in ("write", level) for given in held)
