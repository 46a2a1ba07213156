"""Retry policies: which failed calls are repeated, how often, after which waits, and what a server's Retry-After does.

Every retry of this repository has one of the policies below. `attempts` runs one (on tenacity); `google_retry` and
`obstore_retry` hand its numbers to libraries that repeat calls themselves, and pipeline/github/retry.py does so for
PyGithub. A wait of a server (`Retry-After`) lengthens ours and never shortens it; where it exceeds what the policy
allows, the call fails at once.

The rules come from https://cloud.google.com/storage/docs/retry-strategy, https://google.aip.dev/194 and
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api.
"""

import dataclasses
import datetime
import email.utils
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tenacity
    from google.api_core.exceptions import GoogleAPICallError
    from google.api_core.retry import Retry

log = logging.getLogger(__name__)
sleep = time.sleep  # every wait of a retry goes through this name
LOGGED_WAIT = 3.0  # seconds: shorter waits go without a line in the log


@dataclass(frozen=True)
class Backoff:
    """Exponentially growing waits, in seconds: `first`, `first * factor`, ... up to `longest`.

    `jitter` is the share by which a wait is varied at random, both ways, so that clients that failed together do not
    come back together.
    """

    first: float
    factor: float
    longest: float
    jitter: float = 0.0

    def wait(self, number: int) -> float:
        """Returns the seconds of wait `number`, counted from 1."""
        spread = random.uniform(1 - self.jitter, 1 + self.jitter)
        return min(self.longest, self.first * self.factor ** (number - 1)) * spread

    def waits(self) -> Iterator[float]:
        """Yields the waits, without an end: what to sleep between two looks at something that takes its time."""
        return map(self.wait, itertools.count(1))


@dataclass(frozen=True)
class Policy:
    """When a failed call is repeated."""

    service: str  # as the log names it
    backoff: Backoff
    attempts: int | None = None  # calls in total; None: as many as `timeout` allows
    timeout: float | None = None  # seconds after which no other attempt begins; None: `attempts` alone decides
    statuses: frozenset[int] = frozenset()  # of HTTP, that may pass; lost connections are up to the caller
    connect_attempts: int | None = None  # calls in total where no connection is established; None: as `attempts`
    longest_retry_after: float = 0.0  # seconds of a server's Retry-After that are worth waiting

    def wait(self, number: int, retry_after: float | None = None) -> float:
        """Returns the seconds between attempt `number`, counted from 1, and the next one."""
        return max(self.backoff.wait(number), retry_after or 0.0)

    def worth_waiting(self, retry_after: float | None) -> bool:
        """True unless the server asks for a longer wait than the policy allows."""
        return (retry_after or 0.0) <= self.longest_retry_after


# 408: the request arrived too slowly; 429: too many; the others are failures of a server or of one before it.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

# Every call of Cloud Storage: each has a precondition, so repeating one whose answer was lost does no harm. 32 seconds
# of waits in all, which outlast a bucket's own scaling of its request rate.
STORAGE = Policy(
    "Cloud Storage",
    Backoff(first=0.1, factor=2.5, longest=16, jitter=0.5),
    attempts=8,
    statuses=TRANSIENT,
    longest_retry_after=60,
)
# A small object by obstore: at once, for a connection that was closed while idle. What fails then is left to STORAGE.
SMALL_OBJECT = dataclasses.replace(STORAGE, backoff=Backoff(first=0.01, factor=2, longest=1), attempts=2)
# Access tokens. google-auth repeats refused requests itself; this adds lost connections.
TOKEN = Policy("Google's authorization server", Backoff(first=0.1, factor=2.5, longest=2, jitter=0.5), attempts=5)
# Read-only calls of Google Cloud's client libraries, which draw each wait between 0 and the backoff's.
READ = Policy("Google Cloud", Backoff(first=0.1, factor=2, longest=10), timeout=120, statuses=TRANSIENT - {408})
# Changes on Vertex AI and Cloud Build, made by steps that look first: conflicts with other processes pass, too.
CHANGE = Policy(
    "Google Cloud",
    Backoff(first=0.05, factor=1.5, longest=3, jitter=0.25),
    attempts=12,
    statuses=READ.statuses,
)
# The doctor's read-only questions. Few attempts: people wait for the answer, and a failure is one of many lines.
QUESTION = Policy(
    "Google Cloud",
    Backoff(first=0.2, factor=2, longest=5, jitter=0.25),
    attempts=4,
    statuses=TRANSIENT,
    longest_retry_after=10,
)
# Steps of `setup`, which look first: conflicts with another process (409), and what takes Google minutes to make
# known everywhere, such as a new service account.
SETUP = Policy(
    "Google Cloud",
    Backoff(first=0.5, factor=1.7, longest=15, jitter=0.25),
    attempts=18,
    timeout=180,
    statuses=TRANSIENT | {409},
    longest_retry_after=60,
)
# Every call of GitHub, changes too: a caller checks whether a change with a lost answer was made. 403 is also
# how GitHub says that a limit was met. No connection at all most often means no network, so it is given up earlier.
GITHUB = Policy(
    "GitHub",
    Backoff(first=0.15, factor=2, longest=30, jitter=0.25),
    attempts=9,
    connect_attempts=5,
    statuses=TRANSIENT - {408} | {403},
    longest_retry_after=15 * 60,  # the hourly limit may take longer, which is more than a job is worth
)
# Where GitHub says that a limit was met and not until when, it asks for a minute, then for exponentially more.
GITHUB_LIMIT = Backoff(first=60, factor=2, longest=math.inf)
# A whole file of a GitHub release, when single calls (GITHUB) got no further.
RELEASE_FILE = Policy("GitHub", Backoff(first=0.5, factor=2, longest=4, jitter=0.25), attempts=4)

POLL = Backoff(first=0.05, factor=1.5, longest=10)  # between two looks at a job or an operation
LOCK = Backoff(first=0.1, factor=2, longest=4, jitter=0.25)  # between two looks at another process's lease


class Transient(Exception):
    """An answer that may be another one soon; `retry_after` are the seconds that the server asks to wait."""

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


def attempts(
    policy: Policy, *errors: type[Exception], when: Callable[[Any], bool] = lambda error: True
) -> "tenacity.Retrying":
    """Returns the attempts of a call: `for attempt in attempts(...): with attempt: return call()`.

    An error of one of the types `errors` for which `when` is true leads to another attempt, any other leaves the loop;
    so does the last one. An error may have the attribute `retry_after`, seconds or None.
    """
    import tenacity

    def retry_after(error: BaseException | None) -> float | None:
        return getattr(error, "retry_after", None)

    def is_transient(error: BaseException) -> bool:
        return isinstance(error, errors) and when(error) and policy.worth_waiting(retry_after(error))

    def wait(state: tenacity.RetryCallState) -> float:
        return policy.wait(state.attempt_number, retry_after(state.outcome.exception()))

    def before_sleep(state: tenacity.RetryCallState) -> None:
        log_wait(policy, str(state.outcome.exception()), state.upcoming_sleep)

    stops = [tenacity.stop_after_attempt(policy.attempts)] if policy.attempts else []
    stops += [tenacity.stop_after_delay(policy.timeout)] if policy.timeout else []
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        stop=tenacity.stop_any(*stops),
        wait=wait,
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )


def log_wait(policy: Policy, reason: str, seconds: float) -> None:
    """Logs a wait that people notice."""
    if seconds >= LOGGED_WAIT:
        log.warning("%s: %s. Retrying in %.0f s.", policy.service, " ".join(reason.split())[-160:], seconds)


def parse_retry_after(header: str | None) -> float | None:
    """Returns the seconds that a Retry-After header asks for; None without one, or where it cannot be read.

    It is a number of seconds or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, aware.timestamp() - time.time())


def google_errors(policy: Policy) -> "tuple[type[GoogleAPICallError], ...]":
    """Returns the classes of google-api-core that stand for the policy's statuses, over HTTP as over gRPC."""
    from google.api_core import exceptions

    return tuple(type(exceptions.from_http_status(status, "")) for status in sorted(policy.statuses))


def google_retry(policy: Policy) -> "Retry":
    """Returns the policy as Google's client libraries take it (`retry=`)."""
    from google.api_core import retry

    return retry.Retry(
        retry.if_exception_type(*google_errors(policy)),
        initial=policy.backoff.first,
        maximum=policy.backoff.longest,
        multiplier=policy.backoff.factor,
        timeout=policy.timeout,
    )


def obstore_retry(policy: Policy) -> dict[str, Any]:
    """Returns the policy as obstore takes it (`retry_config=`)."""
    return {
        "max_retries": policy.attempts - 1,
        "backoff": {
            "init_backoff": datetime.timedelta(seconds=policy.backoff.first),
            "max_backoff": datetime.timedelta(seconds=policy.backoff.longest),
            "base": policy.backoff.factor,
        },
    }
