"""Asking GitHub, here the local one: what is tried again, for how long, and what people are told of the rest."""

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
    with client.github_errors("Asking when somebody pushed last"):
        return repository.pushed_at


def refused(repository):
    """What people are told of the call that they see fail."""
    with pytest.raises(GitHubRefused) as error:
        ask(repository)
    told = str(error.value)
    assert told.startswith("Asking when somebody pushed last failed: ") and "\n" not in told
    return told


def comment(repository, cloud):
    """A call that changes something, for a pull request."""
    cloud.github.pulls.propose(7, "a" * 40, "b" * 40)
    with client.github_errors("Commenting"):
        repository.get_issue(7).create_comment("Hello.")
    return cloud.github.issues.texts(7)


def test_making_one_asks_nothing(repository, cloud):
    assert not cloud.asked_of_services()
    assert ask(repository) and cloud.requests


def test_neither_pygithub_nor_requests_is_loaded_before_something_is_asked():
    loaded = "import json, sys; import pipeline.github.client; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True).stdout)
    assert not {"github", "requests", "urllib3"} & set(modules)


def test_a_workflow_says_where_the_api_is(repository, cloud, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "https://github.example.com/api/v3/")
    assert client.repository("acme/widget", "").requester.base_url == "https://github.example.com/api/v3"


@pytest.mark.parametrize("kind", ["429", "500", "503", "cut", "lose"])
def test_a_failure_that_goes_away_is_tried_again(repository, cloud, retry_waits, kind):
    cloud.faults.add("github", "repos/get", kind=kind, times=3)
    assert ask(repository)
    assert len(cloud.asked("github")) == 4


def test_what_stays_wrong_is_told_after_some_tries(repository, cloud, retry_waits):
    cloud.faults.add("github", "repos/get", kind="503", times=99)
    assert "GitHub answered 503" in refused(repository)
    assert len(cloud.asked("github")) == retry.GITHUB.attempts
    assert retry_waits == sorted(retry_waits) and 20 < sum(retry_waits) < 60


def test_connections_that_are_cut_again_and_again_are_told(repository, cloud, retry_waits):
    cloud.faults.add("github", "repos/get", kind="cut", times=99)
    assert "GitHub cannot be reached" in refused(repository)


def test_what_changes_something_is_tried_again_too(repository, cloud, retry_waits):
    cloud.faults.add("github", "issues/create-comment", kind="503")
    assert comment(repository, cloud) == ["Hello."]


@pytest.mark.parametrize("status", [403, 429])
def test_it_waits_as_long_as_github_says(repository, cloud, retry_waits, status):
    cloud.github.limits.secondary(retry_after=17, status=status)
    assert ask(repository)
    assert retry_waits == [17]


@pytest.mark.parametrize("status", [403, 429])
def test_it_waits_a_minute_and_then_longer_when_github_does_not_say_how_long(repository, cloud, retry_waits, status):
    cloud.github.limits.secondary(status=status, calls=3)
    assert ask(repository)
    assert retry_waits == [60, 120, 240]


def test_it_waits_until_the_hourly_limit_begins_anew(repository, cloud, retry_waits, caplog):
    cloud.github.limits.primary(seconds=40)
    assert ask(repository)
    assert len(retry_waits) == 1 and 38 < retry_waits[0] <= 41
    assert "GitHub: status 403. Retrying in" in caplog.text


def test_limits_are_waited_for_before_something_is_changed(repository, cloud, retry_waits):
    cloud.github.limits.secondary(retry_after=1)
    assert comment(repository, cloud) == ["Hello."]


@pytest.mark.parametrize("limit", ["primary", "retry_after"])
def test_nobody_waits_for_the_better_part_of_an_hour(repository, cloud, retry_waits, limit):
    if limit == "primary":
        cloud.github.limits.primary(seconds=3000)
    else:
        cloud.github.limits.secondary(retry_after=3000)
    told = refused(repository)
    assert "too much was asked of GitHub" in told and "ry again" in told
    assert not retry_waits and len(cloud.asked("github")) == 1
    if limit == "primary":
        assert f"after {time.strftime('%H:%M', time.gmtime(time.time() + 3000))} UTC" in told


def test_a_limit_that_does_not_end_is_told(repository, cloud, retry_waits):
    cloud.github.limits.secondary(retry_after=0, calls=99)
    assert "too much was asked of GitHub" in refused(repository)
    assert len(cloud.asked("github")) == retry.GITHUB.attempts


@pytest.mark.parametrize("token, why", [("", "Requires authentication"), ("nobody's", "Bad credentials")])
def test_a_token_that_is_missing_or_wrong_is_told(cloud_environment, retry_waits, token, why):
    repository = client.repository(cloud_environment.github.repository, token)
    told = refused(repository)
    assert why in told and "Set GITHUB_TOKEN" in told and not retry_waits


def test_the_permission_that_is_missing_is_told(cloud_environment, retry_waits):
    github = cloud_environment.github
    repository = client.repository(github.repository, github.token(contents="read"))
    with pytest.raises(GitHubRefused, match="may not do that.* the permission deployments: read") as refusal:
        with client.github_errors("Looking for deployments"):
            list(repository.get_deployments())
    assert (refusal.value.doing, refusal.value.status) == ("Looking for deployments", 403)
    assert not retry_waits and len(cloud_environment.asked("github")) == 1


def test_what_is_not_there_is_told(cloud_environment, retry_waits):
    github = cloud_environment.github
    told = refused(client.repository("acme/gone", github.token()))
    assert "it is not there, or the token may not see it" in told and not retry_waits


def test_what_is_wrong_with_a_call_is_told(repository, cloud):
    cloud.github.actions.workflows["evaluation.yml"] = set()
    with pytest.raises(GitHubRefused, match="GitHub answered 422 .*Unexpected inputs"):
        with client.github_errors("Starting it"):
            repository.get_workflow("evaluation.yml").create_dispatch("main", {"other": "1"}, throw=True)


def test_a_network_that_is_not_there_is_told_soon(repository, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    started = time.monotonic()
    told = refused(repository)
    assert "GitHub cannot be reached" in told and "object at 0x" not in told
    assert time.monotonic() - started < 10


def test_an_answer_that_is_no_json_is_told():
    with pytest.raises(GitHubRefused, match="damaged on its way"), client.github_errors("Asking"):
        json.loads('{"half an ans')
