"""Google Cloud over plain REST: for services whose own client takes longer to import than to answer."""

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import google.auth
import google.auth.transport.requests
import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from pipeline import google_errors, retry
from pipeline.errors import ApiDisabled, CloudRefused, SpanloopError

TIMEOUT = 20  # seconds
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


_STATUS = {5: 404, 6: 409, 7: 403, 8: 429, 10: 409, 13: 500, 14: 503}  # of HTTP, by gRPC's code


class NoAnswer(Exception):
    """A service refuses to answer, cannot be reached, or does not have what was asked for."""

    def __init__(self, message: str, status: int = 0, disabled: str = "", retry_after: float | None = None):
        super().__init__(" ".join(message.split()).rstrip("."))
        self.status = status  # of HTTP, 0 without a response
        self.disabled = disabled  # host of the API that the project has not enabled
        self.retry_after = retry_after  # seconds that the service asks to wait

    @property
    def explained(self) -> SpanloopError | None:
        """Returns the error whose message is the same for every service, None where there is none."""
        if self.disabled:
            return ApiDisabled(self.disabled)
        return google_errors.explain(self.__cause__) if self.__cause__ else None


class Rest:
    """Calls with one identity; thread-safe.

    A call whose answer was lost is repeated, so a caller that changes something has to look first what is there.
    """

    def __init__(self, credentials: Credentials):
        self._session = google.auth.transport.requests.AuthorizedSession(credentials)
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=16))

    def get(self, url: str, **parameters: str | list[str]) -> dict[str, Any]:
        """Returns the JSON at `url`; a parameter may have several values. Raises NoAnswer."""
        return self._ask("GET", url, params=parameters)

    def post(self, url: str, body: dict[str, Any], **parameters: str) -> dict[str, Any]:
        """Creates something, or calls a method such as testIamPermissions; returns the answer. Raises NoAnswer."""
        return self._ask("POST", url, json=body, params=parameters)

    def patch(self, url: str, body: dict[str, Any], **parameters: str) -> dict[str, Any]:
        """Changes the fields of `body`; returns the answer's JSON. Raises NoAnswer."""
        return self._ask("PATCH", url, json=body, params=parameters)

    def put(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replaces what is at `url`; returns the answer's JSON. Raises NoAnswer."""
        return self._ask("PUT", url, json=body)

    def delete(self, url: str, **parameters: str) -> dict[str, Any]:
        """Deletes what is at `url`; returns the answer's JSON. Raises NoAnswer."""
        return self._ask("DELETE", url, params=parameters)

    def wait(self, host: str, answer: Mapping[str, Any]) -> None:
        """Waits for the end of an operation of the service at `host`, if the answer is one.

        Raises NoAnswer when it failed.
        """
        name = str(answer.get("name", ""))
        if not name.startswith("operations/") and "/operations/" not in name:
            return
        for pause in retry.POLL.waits():
            if answer.get("done"):
                break
            time.sleep(pause)
            answer = self.get(f"{host}/{name}")
        if error := answer.get("error"):
            raise NoAnswer(error.get("message", "it failed"), _STATUS.get(error.get("code", 0), 400))

    def _ask(self, verb: str, url: str, **how: Any) -> dict[str, Any]:
        def is_transient(error: NoAnswer) -> bool:
            lost = isinstance(error.__cause__, (requests.ConnectionError, requests.Timeout))
            return lost or error.status in retry.QUESTION.statuses

        for attempt in retry.attempts(retry.QUESTION, NoAnswer, when=is_transient):
            with attempt:
                return self._ask_once(verb, url, **how)

    def _ask_once(self, verb: str, url: str, **how: Any) -> dict[str, Any]:
        try:
            response = self._session.request(verb, url, timeout=TIMEOUT, **how)
        except (requests.RequestException, GoogleAuthError) as error:
            raise NoAnswer(str(error)) from error
        try:
            body = response.json()
        except ValueError:
            body = {"error": {"message": f"HTTP status {response.status_code}"}}
        if response.ok:
            return body
        error = body.get("error", {})
        details = itertools.chain([{}], error.get("details", []))
        service = next((d["metadata"]["service"] for d in details if d.get("reason") == "SERVICE_DISABLED"), "")
        service = service or google_errors.disabled_api(error.get("message", ""))
        retry_after = retry.parse_retry_after(response.headers.get("Retry-After"))
        raise NoAnswer(error.get("message", response.reason), response.status_code, service, retry_after)


def default_rest() -> Rest:
    """Returns calls with the application default credentials. Raises NoCredentials."""
    try:
        credentials, _ = google.auth.default(scopes=SCOPES)
    except GoogleAuthError as error:
        raise google_errors.explain(error) from error
    return Rest(credentials)


@contextlib.contextmanager
def rest_errors(doing: str) -> Iterator[None]:
    """Converts NoAnswer to CloudRefused, or to what google_errors.explain makes of its cause."""
    try:
        yield
    except NoAnswer as error:
        raise error.explained or CloudRefused(doing, str(error)) from error
