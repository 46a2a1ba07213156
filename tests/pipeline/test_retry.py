"""Retry policies: what is repeated, how often, after which waits, and what a server's Retry-After does."""

import dataclasses
import email.utils
import itertools
import re
import time

import pytest
from google.api_core import exceptions as google

from pipeline import retry
from pipeline.retry import Backoff, Policy, Transient
from tests.test_repository import ROOT

POLICY = Policy("The service", Backoff(first=1, factor=2, longest=5), attempts=5, longest_retry_after=60)
POLICIES = {name: policy for name, policy in vars(retry).items() if isinstance(policy, Policy)}


class Flaky:
    """A call that meets errors, one an attempt, before it succeeds."""

    def __init__(self, *errors: Exception):
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def run(policy, call, *errors, **options):
    for attempt in retry.attempts(policy, *errors, **options):
        with attempt:
            return call()


def test_waits_grow_up_to_the_longest():
    backoff = Backoff(first=1, factor=2, longest=5)
    assert [backoff.wait(number) for number in range(1, 6)] == [1, 2, 4, 5, 5]
    assert list(itertools.islice(backoff.waits(), 4)) == [1, 2, 4, 5]


def test_jitter_spreads_waits_both_ways_and_no_further():
    backoff = Backoff(first=10, factor=1, longest=10, jitter=0.2)
    waits = [backoff.wait(1) for _ in range(1000)]
    assert 8 <= min(waits) < 9 and 11 < max(waits) <= 12


def test_a_transient_error_is_retried_until_the_call_succeeds(retry_waits):
    call = Flaky(Transient("status 503"), Transient("status 503"))
    assert run(POLICY, call, Transient) == "done"
    assert call.calls == 3 and retry_waits == [1, 2]


def test_the_last_error_of_all_attempts_is_raised_as_it_is(retry_waits):
    errors = [Transient(f"status 50{number}") for number in range(9)]
    call = Flaky(*errors)
    with pytest.raises(Transient) as raised:
        run(POLICY, call, Transient)
    assert raised.value is errors[4] and call.calls == 5 and retry_waits == [1, 2, 4, 5]


@pytest.mark.parametrize("errors, when", [((Transient,), bool), ((ValueError,), lambda error: "503" in str(error))])
def test_another_error_is_not_retried(retry_waits, errors, when):
    call = Flaky(ValueError("status 403"))
    with pytest.raises(ValueError, match="403"):
        run(POLICY, call, *errors, when=when)
    assert call.calls == 1 and not retry_waits


def test_a_servers_wait_lengthens_ours_and_never_shortens_it(retry_waits):
    run(POLICY, Flaky(Transient("429", 30), Transient("429", 0.5), Transient("503", None)), Transient)
    assert retry_waits == [30, 2, 4]


def test_a_servers_wait_that_is_too_long_is_not_begun(retry_waits):
    call = Flaky(Transient("429", 61))
    with pytest.raises(Transient):
        run(POLICY, call, Transient)
    assert call.calls == 1 and not retry_waits


def test_no_attempt_begins_after_the_timeout():
    policy = Policy("The service", Backoff(first=0.02, factor=1, longest=0.02), timeout=0.1)
    call = Flaky(*[Transient("status 503")] * 1000)
    started = time.monotonic()
    with pytest.raises(Transient):
        run(policy, call, Transient)
    assert 0.1 <= time.monotonic() - started < 5 and 1 < call.calls <= 6


def test_only_waits_that_people_notice_are_logged(retry_waits, caplog):
    run(POLICY, Flaky(*[Transient("status\n503")] * 3), Transient)
    assert caplog.messages == ["The service: status 503. Retrying in 4 s."]


@pytest.mark.parametrize(
    "header, seconds", [(None, None), ("", None), ("0", 0), ("17", 17), (" 17 ", 17), ("-1", None), ("soon", None)]
)
def test_retry_after_in_seconds(header, seconds):
    assert retry.parse_retry_after(header) == seconds


def test_retry_after_as_a_date():
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 30 < retry.parse_retry_after(in_a_minute) <= 60
    assert retry.parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_ends(name):
    policy = POLICIES[name]
    assert (policy.attempts or 0) > 1 or policy.timeout
    waits = [dataclasses.replace(policy.backoff, jitter=0).wait(number) for number in range(1, policy.attempts or 1)]
    assert waits == sorted(waits) and sum(waits) < (policy.timeout or 60)


def test_storage_outlasts_half_a_minute():
    storage = dataclasses.replace(retry.STORAGE.backoff, jitter=0)
    assert sum(storage.wait(number) for number in range(1, retry.STORAGE.attempts)) == pytest.approx(32, abs=0.5)


def test_no_other_module_has_numbers_of_its_own():
    own = re.compile(r"import tenacity|random\.uniform|backoff_factor|\bTRIES\b|\bWAITS\b|max_retries\"|retry\.Retry\(")
    modules = [path for folder in ("pipeline", "ci") for path in (ROOT / folder).rglob("*.py")]
    found = [path.relative_to(ROOT).as_posix() for path in modules if own.search(path.read_text(encoding="utf-8"))]
    assert found == ["pipeline/retry.py"]


READ_AT_ONCE = dataclasses.replace(retry.READ, backoff=Backoff(first=0.001, factor=2, longest=0.01))


@pytest.mark.parametrize(
    "error", [google.ServiceUnavailable, google.ResourceExhausted, google.DeadlineExceeded, google.InternalServerError]
)
def test_googles_clients_retry_what_the_policy_says(error):
    call = Flaky(error("for now"), error("for now"))
    assert retry.google_retry(READ_AT_ONCE)(call)() == "done" and call.calls == 3


@pytest.mark.parametrize("error", [google.NotFound, google.PermissionDenied, google.Aborted, google.Unknown])
def test_googles_clients_retry_nothing_else(error):
    call = Flaky(error("for good"))
    with pytest.raises(error):
        retry.google_retry(READ_AT_ONCE)(call)()
    assert call.calls == 1


def test_googles_clients_give_up_after_the_policys_timeout():
    call = Flaky(*[google.ServiceUnavailable("for now")] * 10_000)
    with pytest.raises(google.RetryError):
        retry.google_retry(dataclasses.replace(READ_AT_ONCE, timeout=0.1))(call)()
    assert 1 < call.calls < 10_000
