"""What a service of Google Cloud is here, so that a new one is one file and one line in cloud.py.

A service is a class with `name` (what the log and the faults call it) and `hosts`, and answers in one or both ways:

    class Secrets(Service):
        name = "secretmanager"
        hosts = ("secretmanager.googleapis.com",)          # "*-aiplatform.googleapis.com" covers every region

        def __init__(self, cloud): ...                     # cloud.project, cloud.account, the others
        def reset(self): ...                               # as new, before each test

        def rpcs(self):                                    # gRPC
            return {f"/{PACKAGE}.SecretManagerService/AccessSecretVersion": Rpc(Request, Response, self.access)}

        def access(self, request, caller):                 # what `Request` says, proto-plus or plain
            raise Refused(NOT_FOUND, f"Secret [{request.name}] not found.")

        def routes(self):                                  # REST: {name} is one part of the path, {name=**} any number
            return [Route("GET", "/v1/projects/{project}/secrets", "ListSecrets", self.list)]

        def list(self, request, caller, project):          # a Response, or a dict that is sent as JSON
            return {"secrets": []}

What every call passes before the handler, once for all (front_desk.py): its line in `cloud.requests`, the fault that
was asked for, who the caller is, and whether the token is good for one of the service's `scopes`. A call without a
valid token is refused before the handler sees it, and so are gRPC requests with unknown fields. REST and gRPC may share
a host: a client that speaks nothing but HTTP/2 gets gRPC.
"""

import dataclasses
import functools
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from grpc import StatusCode

if TYPE_CHECKING:
    from tests.emulators.front_desk import FrontDesk

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
    """What the real service would refuse: a gRPC status, or its HTTP status and Google's JSON error over REST."""

    def __init__(self, code: StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        return HTTP_STATUS.get(self.code, 500)

    def response(self) -> "Response":
        error = {"code": self.status, "message": self.message, "status": self.code.name}
        return Response(self.status, json.dumps({"error": error}).encode(), JSON)


class Caller(NamedTuple):
    """Who asks: an email, "" where no token is needed; `headers` (in gRPC: metadata) have lower-case names."""

    principal: str
    headers: Mapping[str, str]
    host: str
    scopes: frozenset[str] = frozenset()  # what the token is good for


@dataclasses.dataclass(slots=True)
class Request:
    """An HTTP request as it came: `path` and `query` still have their escapes, `headers` lower-case names."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    host: str

    def parameters(self) -> dict[str, str]:
        """The query's parameters; of one that is repeated the last."""
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    def json(self) -> Any:
        """The body as JSON, an empty one as {}; raises Refused."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(StatusCode.INVALID_ARGUMENT, "Parse Error") from None


class Response(NamedTuple):
    """An HTTP answer; Content-Length is added."""

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
    """A call that was recognised: what the log says of it, and what does it."""

    method: str  # such as objects.insert or CreatePipelineJob
    target: str  # what it is about: a path, or gRPC's routing header
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
    """A service that answers nothing yet."""

    name = ""
    hosts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/cloud-platform",)  # a token needs one of them
    desk: "FrontDesk"  # set by Cloud

    def rpcs(self) -> Mapping[str, Rpc]:
        return {}

    def routes(self) -> list[Route]:
        return []

    def reset(self) -> None:
        """Forgets everything."""

    def close(self) -> None:
        """Ends what it has started: processes, files."""

    def route(self, request: Request) -> Call | None:
        """Finds what a REST request asks for; None when the service has no such method."""
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
    """A handler's answer as a Response."""
    return given if isinstance(given, Response) else Response(200, json.dumps(given).encode(), JSON)


def _pattern(path: str) -> re.Pattern[str]:
    """`/v1/{name=**}:cancel` as a pattern."""
    parts = re.split(r"\{(\w+)(=\*\*)?\}", path)
    text = re.escape(parts[0])
    for name, many, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        text += rf"(?P<{name}>{'.+' if many else '[^/]+'}){re.escape(rest)}"
    return re.compile(text)
