"""What every call passes, REST or gRPC: a line in the log, the fault that was asked for, and who the caller is."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.faults import Faults
from tests.emulators.services import Call, Caller, Refused, Request, Response

if TYPE_CHECKING:
    from tests.emulators.oauth import OAuth

REFUSALS = {
    "429": (StatusCode.RESOURCE_EXHAUSTED, "Too many requests: try again later."),
    "500": (StatusCode.INTERNAL, "An internal error has occurred."),
    "503": (StatusCode.UNAVAILABLE, "The service is unavailable: try again later."),
}


class Lost(Exception):
    """The connection ends without an answer."""


@dataclasses.dataclass(slots=True)
class Asked:
    """One call: what was asked, by whom, and how it ended. `status` is HTTP's, also for gRPC; 0 without an answer."""

    service: str
    method: str
    target: str
    principal: str
    body: bytes
    status: int = 0
    fault: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class FrontDesk:
    """Lets calls in, in the order in which they come."""

    def __init__(self, faults: Faults, oauth: "OAuth", requests: list[Asked]):
        self._faults = faults
        self._oauth = oauth
        self._requests = requests
        self.scopes: dict[str, frozenset[str]] = {}  # by service, one of which a token needs

    def perform(self, service: str, call: Call, headers: Mapping[str, str], body: bytes, host: str) -> Any:
        """Does what `call` says and returns its answer; raises Refused, or Lost when there is to be no answer."""
        fault = self._faults.take(service, call.method, call.target)
        asked = Asked(service, call.method, call.target, "", body, 0, fault, headers)
        self._requests.append(asked)
        try:
            caller = Caller("", headers, host)
            if call.authenticated:
                token = self._oauth.token_of(headers.get("authorization", ""), expire=fault == "expire")
                asked.principal = token.principal
                if not token.scopes & self.scopes[service]:
                    raise Refused(StatusCode.PERMISSION_DENIED, "Request had insufficient authentication scopes.")
                caller = Caller(token.principal, headers, host, token.scopes)
            if fault == "cut":
                raise Lost
            if fault in REFUSALS:
                raise Refused(*REFUSALS[fault])
            answer = call.work(caller)
            if fault == "lose":
                raise Lost
            asked.status = answer.status if isinstance(answer, Response) else 200
            return answer
        except Refused as refused:
            asked.status = refused.status
            raise
        except Lost:
            raise
        except Exception:
            asked.status = 500
            raise

    def unknown(self, service: str, request: Request) -> Response:
        """Refuses, and writes down, what no service of a host has."""

        def refuse(caller: Caller) -> Response:
            raise Refused(StatusCode.NOT_FOUND, f"There is no method {request.verb} {request.host}{request.path}.")

        call = Call("unknown", f"{request.verb} {request.path}", refuse, authenticated=False)
        return self.perform(service, call, request.headers, request.body, request.host)
