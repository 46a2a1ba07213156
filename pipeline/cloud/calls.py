"""Calls of Google Cloud: retries, long-running operations, and errors in one readable line."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline import google_errors, retry
from pipeline.errors import CloudRefused
from pipeline.progress import Log, no_log

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.longrunning.operations_pb2 import Operation

Found = TypeVar("Found")


@contextlib.contextmanager
def without_support_warnings() -> Iterator[None]:
    """Imports Google's packages without their warnings about Python versions whose support will end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")
        yield


def read_retry() -> "Retry":
    """Returns the retry policy of read-only calls, retry.READ, as Google's client libraries take it."""
    return retry.google_retry(retry.READ)


def poll_intervals(longest: float = retry.POLL.longest) -> Iterator[float]:
    """Yields the seconds to wait between two polls of a job or an operation, without an end."""
    return dataclasses.replace(retry.POLL, longest=longest).waits()


def wait_for_operation(service: Any, name: str, doing: str, log: Log = no_log) -> "Operation":
    """Returns the operation `name` once it has ended; logs from time to time that `doing` still runs.

    Raises CloudRefused; AlreadyExists or Aborted where another process was faster, which `converge` retries.
    """
    from google.api_core import exceptions
    from google.rpc import code_pb2

    started = logged = time.monotonic()
    for pause in poll_intervals():
        operation = service.get_operation({"name": name}, retry=read_retry())
        if operation.done:
            break
        if time.monotonic() - logged > LOG_INTERVAL:
            logged = time.monotonic()
            log(f"{doing}: {(logged - started) / 60:.0f} min so far")
        time.sleep(pause)
    if operation.HasField("error"):
        if operation.error.code == code_pb2.ALREADY_EXISTS:
            raise exceptions.AlreadyExists(operation.error.message)
        if operation.error.code == code_pb2.ABORTED:
            raise exceptions.Aborted(operation.error.message)
        raise CloudRefused(doing, operation.error.message)
    return operation


LOG_INTERVAL = 60  # seconds


def wait_for_pending(service: Any, name: str, doing: str, log: Log = no_log) -> None:
    """Waits for the operations under way on a resource, begun by another process or by one that was killed."""
    from google.api_core.exceptions import Aborted, AlreadyExists, NotFound

    page = ""
    while True:
        try:
            listed = service.list_operations({"name": name, "page_token": page}, retry=read_retry())
        except NotFound:
            return
        for operation in listed.operations:
            if not operation.done:
                with contextlib.suppress(CloudRefused, AlreadyExists, Aborted):  # reported to the process that began it
                    wait_for_operation(service, operation.name, doing, log)
        page = listed.next_page_token
        if not page:
            return


def converge(doing: str, step: Callable[[], Found | None]) -> Found:
    """Calls `step` until it returns something other than None; each call looks first and does what is left to do.

    So a lost answer, and another process that was faster, make no difference. Raises CloudRefused once retry.CHANGE
    gives up.
    """
    from google.api_core import exceptions as google

    conflicts = (
        google.Aborted,  # another process changed it since it was read
        google.AlreadyExists,
        google.FailedPrecondition,  # another operation has just begun
    )
    with cloud_errors(doing):
        for attempt in retry.attempts(retry.CHANGE, *conflicts, *retry.google_errors(retry.CHANGE)):
            with attempt:
                while (found := step()) is None:
                    continue
                return found


@contextlib.contextmanager
def cloud_errors(doing: str) -> Iterator[None]:
    """Converts API errors to CloudRefused, or to what google_errors.explain makes of them."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        raise google_errors.explain(error) or CloudRefused(doing, google_errors.message(error)) from error
