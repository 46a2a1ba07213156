"""Retries of GitHub's API as urllib3 makes them for PyGithub and requests: retry.GITHUB, and GitHub's rate limits.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
PyGithub's own retry does not know status 429, and waits for as long as any Retry-After says.
"""

import json
import time
from typing import Any

from github.GithubException import GithubException
from github.Requester import Requester
from urllib3 import HTTPResponse, Retry
from urllib3.exceptions import MaxRetryError

from pipeline import retry

LIMITED = (403, 429)  # a limit was met; 403 also stands for a missing permission


def retry_policy() -> "GitHubRetry":
    """Returns retry.GITHUB as urllib3 takes it, for every method: a call whose answer was lost is made twice."""
    return GitHubRetry(
        total=retry.GITHUB.attempts - 1,
        connect=retry.GITHUB.connect_attempts - 1,
        status_forcelist=retry.GITHUB.statuses,
        allowed_methods=None,
        raise_on_status=False,  # the last response says more than that there were many
    )


class GitHubRetry(Retry):
    """What is left of a call's attempts, and the seconds to wait before the next one."""

    wait = 0.0

    def increment(
        self, method: Any = None, url: Any = None, response: HTTPResponse | None = None, **of: Any
    ) -> "GitHubRetry":
        """Returns what is left after this failure. Raises GithubException where a limit lasts too long."""
        refusal, retry_after = None, None
        if response is not None and response.status in LIMITED:
            body = _body(response)
            refusal = Requester.createException(response.status, dict(response.headers), body)
            retry_after = self._seconds_to_limit_reset(response, str(body.get("message") or ""))
        elif response is not None:
            retry_after = retry.parse_retry_after(response.headers.get("Retry-After"))
        try:
            if not retry.GITHUB.worth_waiting(retry_after):
                raise MaxRetryError(of.get("_pool"), url)
            left = super().increment(method, url, response, **of)
        except MaxRetryError:
            if refusal:
                raise refusal from None  # its body was read, so the response itself says nothing any more
            raise
        left.wait = retry.GITHUB.wait(len(left.history), retry_after)
        reason = f"status {response.status}" if response is not None else "no answer"
        retry.log_wait(retry.GITHUB, reason, left.wait)
        return left

    def sleep(self, response: HTTPResponse | None = None) -> None:
        retry.sleep(self.wait)

    def _seconds_to_limit_reset(self, response: HTTPResponse, message: str) -> float:
        """Returns the seconds until the limit ends; infinity where the status stands for something else."""
        if (seconds := retry.parse_retry_after(response.headers.get("Retry-After"))) is not None:
            return seconds
        if response.status == 403 and not Requester.isRateLimitError(message):
            return float("inf")
        if response.headers.get("X-RateLimit-Remaining") == "0":
            # one more, because the header is in whole seconds
            return max(0.0, float(response.headers.get("X-RateLimit-Reset", 0)) - time.time()) + 1
        if not message:
            return 0.0  # of something between here and GitHub, which sets no limits of its own
        return retry.GITHUB_LIMIT.wait(1 + sum(before.status in LIMITED for before in self.history))


def _body(response: HTTPResponse) -> dict[str, Any]:
    try:
        body = json.loads(response.read(decode_content=True))
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def limited(error: GithubException) -> bool:
    """True when an error is a rate limit that has not ended."""
    message = error.data.get("message") if isinstance(error.data, dict) else ""
    return error.status == 429 or (error.status == 403 and Requester.isRateLimitError(message or ""))
