"""Google Cloud over plain REST: for questions to services whose own client would take longer to import than to ask."""

import itertools
from typing import Any

import google.auth.transport.requests
import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

TIMEOUT = 20  # seconds


class NoAnswer(Exception):
    """A service did not tell: it refuses, cannot be reached, or says that something is not there."""

    def __init__(self, message: str, status: int = 0, disabled: str = ""):
        super().__init__(" ".join(message.split()).rstrip("."))
        self.status = status  # of HTTP, 0 when there was no response
        self.disabled = disabled  # host of the API that the project has not enabled


class Rest:
    """Questions of one identity; may be asked from several threads."""

    def __init__(self, credentials: Credentials):
        self._session = google.auth.transport.requests.AuthorizedSession(credentials)
        again = requests.adapters.Retry(total=3, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503))
        again.allowed_methods = None  # what is posted here only asks
        again.raise_on_status = False
        self._session.mount("https://", requests.adapters.HTTPAdapter(max_retries=again, pool_maxsize=16))

    def get(self, url: str, **parameters: str | list[str]) -> dict[str, Any]:
        """Returns the JSON at `url`; a parameter may have several values. Raises NoAnswer."""
        return self._ask("GET", url, params=parameters)

    def post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Returns what a method says that changes nothing, such as testIamPermissions. Raises NoAnswer."""
        return self._ask("POST", url, json=body)

    def _ask(self, verb: str, url: str, **how: Any) -> dict[str, Any]:
        try:
            response = self._session.request(verb, url, timeout=TIMEOUT, **how)
        except (requests.RequestException, GoogleAuthError) as error:
            raise NoAnswer(str(error)) from None
        try:
            told = response.json()
        except ValueError:
            told = {"error": {"message": f"HTTP status {response.status_code}"}}
        if response.ok:
            return told
        error = told.get("error", {})
        details = itertools.chain([{}], error.get("details", []))
        service = next((d["metadata"]["service"] for d in details if d.get("reason") == "SERVICE_DISABLED"), "")
        raise NoAnswer(error.get("message", response.reason), response.status_code, service)
