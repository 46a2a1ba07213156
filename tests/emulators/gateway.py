"""Common steps of every call, REST or gRPC: logging, injected faults and authentication."""

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
    """The connection must close without a response."""


@dataclasses.dataclass(slots=True)
class RecordedCall:
    """One logged call. `status` is an HTTP status, also for gRPC; 0 when no response was sent."""

    service: str
    method: str
    target: str
    principal: str
    body: bytes
    status: int = 0
    fault: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Gateway:
    """Logs, authenticates and performs calls."""

    def __init__(self, faults: Faults, oauth: "OAuth", requests: list[RecordedCall], project_number: str):
        self._faults = faults
        self._oauth = oauth
        self._requests = requests
        self._project_number = project_number
        self.scopes: dict[str, frozenset[str]] = {}  # by service; a token needs one of them
        self.disabled: set[str] = set()  # hosts of APIs that the project has not enabled

    def perform(self, service: str, call: Call, headers: Mapping[str, str], body: bytes, host: str) -> Any:
        """Performs `call` and returns its response; raises Refused, or Lost for a fault without a response."""
        fault = self._faults.take(service, call.method, call.target)
        record = RecordedCall(service, call.method, call.target, "", body, 0, fault, headers)
        self._requests.append(record)
        try:
            caller = Caller("", headers, host)
            if call.authenticated:
                token = self._oauth.token_of(headers.get("authorization", ""), expire=fault == "expire")
                record.principal = token.principal
                if not token.scopes & self.scopes[service]:
                    raise Refused(StatusCode.PERMISSION_DENIED, "Request had insufficient authentication scopes.")
                caller = Caller(token.principal, headers, host, token.scopes)
                self._check_enabled(service)
            if fault == "cut":
                raise Lost
            if fault in REFUSALS:
                raise Refused(*REFUSALS[fault])
            response = call.work(caller)
            if fault == "lose":
                raise Lost
            record.status = response.status if isinstance(response, Response) else 200
            return response
        except Refused as refused:
            record.status = refused.status
            raise
        except Lost:
            raise
        except Exception:
            record.status = 500
            raise

    def _check_enabled(self, service: str) -> None:
        """Raises Refused while the project has not enabled the API.

        https://cloud.google.com/apis/docs/troubleshooting#api_not_enabled
        """
        api = f"{service}.googleapis.com"
        if api in self.disabled:
            reason = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVICE_DISABLED",
                "domain": "googleapis.com",
                "metadata": {"service": api, "consumer": f"projects/{self._project_number}"},
            }
            about = f"https://console.developers.google.com/apis/api/{api}/overview?project={self._project_number}"
            message = (
                f"{service.title()} API has not been used in project {self._project_number} before or it is disabled."
                f" Enable it by visiting {about} then retry. If you enabled this API recently, wait a few minutes for"
                " the action to propagate to our systems and retry."
            )
            raise Refused(StatusCode.PERMISSION_DENIED, message, [reason])

    def unknown(self, service: str, request: Request) -> Response:
        """Logs and refuses a request that no service of the host handles."""

        def refuse(caller: Caller) -> Response:
            raise Refused(StatusCode.NOT_FOUND, f"There is no method {request.verb} {request.host}{request.path}.")

        call = Call("unknown", f"{request.verb} {request.path}", refuse, authenticated=False)
        return self.perform(service, call, request.headers, request.body, request.host)
