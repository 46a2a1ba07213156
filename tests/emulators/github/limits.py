"""Rate limits that a test sets for the next calls, and `/rate_limit`."""

import time

from tests.emulators.github.answers import AuthorizedRequest, answer
from tests.emulators.github.endpoints import Endpoint
from tests.emulators.services import Response

HOURLY = 5000  # calls of a token


class Limits:
    """Responses to the next calls, in order."""

    def __init__(self):
        self._next: list[Response | None] = []
        self._used = 0

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/rate_limit", "rate-limit/get", "", self.show)]

    def show(self, call: AuthorizedRequest) -> Response:
        """The hourly limit. This call counts for none: https://docs.github.com/en/rest/rate-limit/rate-limit."""
        exceeded = next((limit.headers for limit in self._next if limit and "X-RateLimit-Reset" in limit.headers), {})
        left = 0 if exceeded else HOURLY - self._used
        reset = int(exceeded.get("X-RateLimit-Reset", time.time() + 3600))
        core = {"limit": HOURLY, "used": HOURLY - left, "remaining": left, "reset": reset}
        return answer(
            {"resources": {"core": core, "search": core | {"limit": 30, "used": 0, "remaining": 30}}, "rate": core}
        )

    def spare(self, calls: int) -> None:
        """Exempts the next calls."""
        self._next += [None] * calls

    @property
    def met(self) -> bool:
        """True when all limits were used."""
        return not self._next

    def primary(self, seconds: float, calls: int = 1) -> None:
        """Uses up the hourly limit for a number of seconds."""
        reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + seconds))}
        body = {"message": "API rate limit exceeded for installation ID 1.", "status": "403"}
        self._next += [answer(body, 403, reset)] * calls

    def secondary(self, retry_after: int | None = None, status: int = 403, calls: int = 1) -> None:
        """Applies a secondary limit; `retry_after` is the header's value in seconds, None for no header."""
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        body = {"message": message, "status": str(status)}
        self._next += [answer(body, status, {} if retry_after is None else {"Retry-After": str(retry_after)})] * calls

    def take(self) -> Response | None:
        """The response to the next call, None for no limit."""
        self._used += 1
        return self._next.pop(0) if self._next else None
