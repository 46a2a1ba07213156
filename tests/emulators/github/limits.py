"""Rate limits: what the next calls meet when a test says so."""

import time

from tests.emulators.github.answers import answer
from tests.emulators.services import Response


class Limits:
    """Refusals of the next calls, in order."""

    def __init__(self):
        self._next: list[Response | None] = []

    def spare(self, calls: int) -> None:
        """So many calls meet none."""
        self._next += [None] * calls

    @property
    def met(self) -> bool:
        """True when nothing more is to come."""
        return not self._next

    def primary(self, seconds: float, calls: int = 1) -> None:
        """The hourly limit is used up, for as many seconds."""
        reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + seconds))}
        told = {"message": "API rate limit exceeded for installation ID 1.", "status": "403"}
        self._next += [answer(told, 403, reset)] * calls

    def secondary(self, retry_after: int | None = None, status: int = 403, calls: int = 1) -> None:
        """Too much was asked at once; GitHub says for how long, or it does not."""
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        told = {"message": message, "status": str(status)}
        self._next += [answer(told, status, {} if retry_after is None else {"Retry-After": str(retry_after)})] * calls

    def take(self) -> Response | None:
        """What this call meets, None for nothing."""
        return self._next.pop(0) if self._next else None
