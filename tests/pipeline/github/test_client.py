"""Calls of the local GitHub: which failures are retried, for how long, and the messages of the others."""

import json
import subprocess
import sys
import time

import pytest

from pipeline import retry
from pipeline.errors import GitHubRefused
from pipeline.github import client


@pytest.fixture
def repository(cloud_environment):
    github = cloud_environment.github
    return client.repository(github.repository, github.token())


def ask(repository):
    with client.github_errors("Reading the time of the last push"):
        return repository.pushed_at


def refused(repository):
    """The message of the call that fails."""
    with pytest.raises(GitHubRefused) as error:
        ask(repository)
    assert error.value.doing == "Reading the time of the last push" and "\n" not in str(error.value)
    return error.value.reason


def comment(repository, cloud):
    """A call that changes something: a comment on a pull request."""
    cloud.github.pulls.propose(7, "a" * 40, "b" * 40)
    with client.github_errors("Commenting"):
        repository.get_issue(7).create_comment("Hello.")
    return cloud.github.issues.texts(7)


def test_the_client_makes_no_call_by_itself(repository, cloud):
    assert not cloud.asked_of_services()
    assert ask(repository) and cloud.requests


def test_neither_pygithub_nor_requests_is_loaded_before_the_first_call():
    loaded = "import json, sys; import pipeline.github.client; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True).stdout)
    assert not {"github", "requests", "urllib3"} & set(modules)


def test_the_api_url_comes_from_the_environment(repository, cloud, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "https://github.example.com/api/v3/")
    assert client.repository("acme/widget", "").requester.base_url == "https://github.example.com/api/v3"


@pytest.mark.parametrize("kind", ["429", "500", "503", "cut", "lose"])
def test_a_transient_failure_is_retried(repository, cloud, retry_waits, kind):
    cloud.faults.add("github", "repos/get", kind=kind, times=3)
    assert ask(repository)
    assert len(cloud.asked("github")) == 4


def test_a_lasting_failure_is_raised_after_all_attempts(repository, cloud, retry_waits):
    cloud.faults.add("github", "repos/get", kind="503", times=99)
    assert "GitHub answered 503" in refused(repository)
    assert len(cloud.asked("github")) == retry.GITHUB.attempts
    assert retry_waits == sorted(retry_waits) and 20 < sum(retry_waits) < 60


def test_connections_that_are_always_cut_are_named(repository, cloud, retry_waits):
    cloud.faults.add("github", "repos/get", kind="cut", times=99)
    assert "GitHub cannot be reached" in refused(repository)


def test_a_change_is_retried_too(repository, cloud, retry_waits):
    cloud.faults.add("github", "issues/create-comment", kind="503")
    assert comment(repository, cloud) == ["Hello."]


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_obeyed(repository, cloud, retry_waits, status):
    cloud.github.limits.secondary(retry_after=17, status=status)
    assert ask(repository)
    assert retry_waits == [17]


@pytest.mark.parametrize("status", [403, 429])
def test_a_limit_without_retry_after_is_waited_for_exponentially(repository, cloud, retry_waits, status):
    cloud.github.limits.secondary(status=status, calls=3)
    assert ask(repository)
    assert retry_waits == [60, 120, 240]


def test_it_waits_until_the_hourly_limit_is_reset(repository, cloud, retry_waits, caplog):
    cloud.github.limits.primary(seconds=40)
    assert ask(repository)
    assert len(retry_waits) == 1 and 38 < retry_waits[0] <= 41
    assert "GitHub: status 403. Retrying in" in caplog.text


def test_limits_are_waited_for_before_a_change(repository, cloud, retry_waits):
    cloud.github.limits.secondary(retry_after=1)
    assert comment(repository, cloud) == ["Hello."]


@pytest.mark.parametrize("limit", ["primary", "retry_after"])
def test_a_limit_that_lasts_too_long_is_not_waited_for(repository, cloud, retry_waits, limit):
    if limit == "primary":
        cloud.github.limits.primary(seconds=3000)
    else:
        cloud.github.limits.secondary(retry_after=3000)
    message = refused(repository)
    assert "a rate limit of GitHub was exceeded" in message and "Retry" in message
    assert not retry_waits and len(cloud.asked("github")) == 1
    if limit == "primary":
        assert f"after {time.strftime('%H:%M', time.gmtime(time.time() + 3000))} UTC" in message


def test_a_limit_that_does_not_end_is_named(repository, cloud, retry_waits):
    cloud.github.limits.secondary(retry_after=0, calls=99)
    assert "a rate limit of GitHub was exceeded" in refused(repository)
    assert len(cloud.asked("github")) == retry.GITHUB.attempts


@pytest.mark.parametrize("token, why", [("", "Requires authentication"), ("wrong", "Bad credentials")])
def test_a_missing_or_wrong_token_is_named(cloud_environment, retry_waits, token, why):
    repository = client.repository(cloud_environment.github.repository, token)
    message = refused(repository)
    assert why in message and "Set GITHUB_TOKEN" in message and not retry_waits


def test_the_missing_permission_is_named(cloud_environment, retry_waits):
    github = cloud_environment.github
    repository = client.repository(github.repository, github.token(contents="read"))
    with pytest.raises(GitHubRefused, match="may not do that.* the permission deployments: read") as refusal:
        with client.github_errors("Looking for deployments"):
            list(repository.get_deployments())
    assert (refusal.value.doing, refusal.value.status) == ("Looking for deployments", 403)
    assert not retry_waits and len(cloud_environment.asked("github")) == 1


def test_a_missing_repository_is_named(cloud_environment, retry_waits):
    github = cloud_environment.github
    message = refused(client.repository("acme/gone", github.token()))
    assert "it does not exist, or the token may not see it" in message and not retry_waits


def test_an_invalid_call_is_explained(repository, cloud):
    cloud.github.actions.workflows["evaluation.yml"] = set()
    with pytest.raises(GitHubRefused, match="GitHub answered 422 .*Unexpected inputs"):
        with client.github_errors("Starting it"):
            repository.get_workflow("evaluation.yml").create_dispatch("main", {"other": "1"}, throw=True)


def test_a_missing_network_is_named_soon(repository, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    started = time.monotonic()
    message = refused(repository)
    assert "GitHub cannot be reached" in message and "object at 0x" not in message
    assert time.monotonic() - started < 10


def test_a_damaged_response_is_named():
    with pytest.raises(GitHubRefused, match="damaged in transit"), client.github_errors("Asking"):
        json.loads('{"half an ans')
