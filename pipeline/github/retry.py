"""What GitHub asks to be tried again, and when: failures of its servers, cut connections, and limits that have ended.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
PyGithub's own way to retry knows no 429, and waits for as long as any Retry-After says.
"""

import json
import logging
import time
from typing import Any

from github.GithubException import GithubException
from github.Requester import Requester
from urllib3 import HTTPResponse, Retry
from urllib3.exceptions import MaxRetryError

TRIES = 8  # within a minute
UNREACHABLE = 4  # tries at most where no connection comes about: most often there is no network
LONGEST_WAIT = 15 * 60.0  # seconds for a limit to end; the hourly one may take longer than a job is worth
MINUTE = 60.0  # what GitHub asks for, doubled each time, when it says that there is a limit, but not until when
LIMITED = (403, 429)  # a limit was met; but 403 is also what the token may not do


def retry_policy() -> "GitHubRetry":
    """Returns how calls of GitHub are repeated: all of them, so that one whose answer was lost is made twice."""
    return GitHubRetry(
        total=TRIES,
        connect=UNREACHABLE,
        status_forcelist=[*LIMITED, 500, 502, 503, 504],
        allowed_methods=None,
        backoff_factor=0.2,
        raise_on_status=False,  # the last answer says more than that there were many
    )


class GitHubRetry(Retry):
    """What is left of the patience with a call, and how long to wait now."""

    pause = 0.0

    def increment(
        self, method: Any = None, url: Any = None, response: HTTPResponse | None = None, **of: Any
    ) -> "GitHubRetry":
        """Returns what is left after this failure. Raises what GitHub said when no waiting helps."""
        refusal, pause = None, 0.0
        if response is not None and response.status in LIMITED:
            said = _said(response)
            refusal = Requester.createException(response.status, dict(response.headers), said)
            pause = self._until_the_limit_ends(response, str(said.get("message") or ""))
        elif response is not None:
            pause = self.get_retry_after(response) or 0.0
        try:
            if pause > LONGEST_WAIT:
                raise MaxRetryError(of.get("_pool"), url)
            left = super().increment(method, url, response, **of)
        except MaxRetryError:
            if refusal:
                raise refusal from None  # its body was read, so the response itself says nothing any more
            raise
        left.pause = max(pause, left.get_backoff_time())
        if left.pause > 5:
            logging.getLogger(__name__).warning("GitHub is asked again in %.0f seconds.", left.pause)
        return left

    def sleep(self, response: HTTPResponse | None = None) -> None:
        time.sleep(self.pause)

    def _until_the_limit_ends(self, response: HTTPResponse, message: str) -> float:
        """Returns the seconds to wait, for ever when it is no limit that was met."""
        if (after := self.get_retry_after(response)) is not None:
            return after
        if response.status == 403 and not Requester.isRateLimitError(message):
            return float("inf")
        if response.headers.get("X-RateLimit-Remaining") == "0":
            # a second more, because nobody knows when within that second it ends
            return max(0.0, float(response.headers.get("X-RateLimit-Reset", 0)) - time.time()) + 1
        if not message:
            return 0.0  # of something between here and GitHub, which sets no limits of its own
        return MINUTE * 2 ** sum(before.status in LIMITED for before in self.history)


def _said(response: HTTPResponse) -> dict[str, Any]:
    try:
        said = json.loads(response.read(decode_content=True))
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def limited(error: GithubException) -> bool:
    """True when a refusal is a limit that has not ended."""
    message = error.data.get("message") if isinstance(error.data, dict) else ""
    return error.status == 429 or (error.status == 403 and Requester.isRateLimitError(message or ""))
