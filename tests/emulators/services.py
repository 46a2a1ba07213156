"""Base class and types of the local services; a new service is one file and one line in cloud.py.

A service is a class with `name` (used in the log and for faults) and `hosts`, and has methods of one or both kinds:

    class Secrets(Service):
        name = "secretmanager"
        hosts = ("secretmanager.googleapis.com",)          # "*-aiplatform.googleapis.com" covers every region

        def __init__(self, cloud): ...                     # cloud.project, cloud.account, the others
        def reset(self): ...                               # before each test

        def rpcs(self):                                    # gRPC
            return {f"/{PACKAGE}.SecretManagerService/AccessSecretVersion": Rpc(Request, Response, self.access)}

        def access(self, request, caller):                 # `Request` is proto-plus or plain
            raise Refused(NOT_FOUND, f"Secret [{request.name}] not found.")

        def routes(self):                                  # REST: {name} is one part of the path, {name=**} any number
            return [Route("GET", "/v1/projects/{project}/secrets", "ListSecrets", self.list)]

        def list(self, request, caller, project):          # returns a Response, or a dict that is sent as JSON
            return {"secrets": []}

gateway.py does the common steps before the handler: it logs the call in `cloud.requests`, injects faults, and checks
that the token is valid and has one of the service's `scopes`. grpc_server.py refuses requests with unknown fields.
REST and gRPC may share a host: a client that offers only HTTP/2 gets gRPC.
"""

import dataclasses
import functools
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from grpc import StatusCode

if TYPE_CHECKING:
    from tests.emulators.gateway import Gateway

# https://cloud.google.com/apis/design/errors#handling_errors
HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: 499,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refused(Exception):
    """An error response of the service: a gRPC status; over REST the HTTP status and Google's JSON error."""

    def __init__(self, code: StatusCode, message: str, details: Sequence[Mapping[str, Any]] = ()):
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details  # https://google.aip.dev/193

    @property
    def status(self) -> int:
        return HTTP_STATUS.get(self.code, 500)

    def response(self) -> "Response":
        error = {"code": self.status, "message": self.message, "status": self.code.name}
        error |= {"details": list(self.details)} if self.details else {}
        return Response(self.status, json.dumps({"error": error}).encode(), JSON)


class Caller(NamedTuple):
    """The caller's email, "" for calls without a token; `headers` (in gRPC: metadata) have lower-case names."""

    principal: str
    headers: Mapping[str, str]
    host: str
    scopes: frozenset[str] = frozenset()  # of the token


@dataclasses.dataclass(slots=True)
class Request:
    """An HTTP request: `path` and `query` are still percent-encoded, `headers` have lower-case names."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    host: str

    def parameters(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last."""
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    def json(self) -> Any:
        """The body as JSON, {} for an empty one; raises Refused."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(StatusCode.INVALID_ARGUMENT, "Parse Error") from None


class Response(NamedTuple):
    """An HTTP response; the server adds Content-Length."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


JSON = {"Content-Type": "application/json; charset=UTF-8"}


class Rpc(NamedTuple):
    """One method of gRPC: `handler(request, caller)` returns a response or raises Refused."""

    request: type
    response: type
    handler: Callable[[Any, Caller], Any]


class Call(NamedTuple):
    """A request matched to a method: its log entry, and the function that performs it."""

    method: str  # such as objects.insert or CreatePipelineJob
    target: str  # the resource: a path, or gRPC's routing header
    work: Callable[[Caller], Any]
    authenticated: bool = True  # False: needs no token


class Route(NamedTuple):
    """One method of REST: `handler(request, caller, **parts of the path)` returns a Response, or a dict for JSON."""

    verb: str
    path: str
    method: str
    handler: Callable[..., Any]
    authenticated: bool = True


class Service:
    """A service without methods."""

    name = ""
    hosts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)  # a token needs one of them
    gateway: "Gateway"  # set by Cloud

    def rpcs(self) -> Mapping[str, Rpc]:
        return {}

    def routes(self) -> list[Route]:
        return []

    def reset(self) -> None:
        """Restores the initial state."""

    def close(self) -> None:
        """Stops processes and removes files."""

    def route(self, request: Request) -> Call | None:
        """Finds the method of a REST request; None when the service has none."""
        for verb, pattern, route in self._compiled:
            if verb == request.verb and (match := pattern.fullmatch(request.path)):
                parts = {name: urllib.parse.unquote(part) for name, part in match.groupdict().items()}
                return Call(
                    route.method,
                    request.path,
                    lambda caller, route=route, parts=parts: answer(route.handler(request, caller, **parts)),
                    route.authenticated,
                )
        return None

    @functools.cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str], Route]]:
        return [(route.verb, _pattern(route.path), route) for route in self.routes()]


def answer(given: Any) -> Response:
    """A handler's return value as a Response."""
    return given if isinstance(given, Response) else Response(200, json.dumps(given).encode(), JSON)


def _pattern(path: str) -> re.Pattern[str]:
    """Compiles a path such as `/v1/{name=**}:cancel` to a pattern."""
    parts = re.split(r"\{(\w+)(=\*\*)?\}", path)
    text = re.escape(parts[0])
    for name, many, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        text += rf"(?P<{name}>{'.+' if many else '[^/]+'}){re.escape(rest)}"
    return re.compile(text)
