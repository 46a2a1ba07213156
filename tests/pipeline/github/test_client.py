"""Calls of the local GitHub: which failures are retried, for how long, and the messages of the others."""

import contextlib
import itertools
import json
import subprocess
import sys
import time

import pytest

from pipeline import retry
from pipeline.errors import GitHubRefused
from pipeline.github import client, hosts, requester
from tests.emulators.services import Response


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
    assert len(retry_waits) == 1 and 20 < retry_waits[0] <= 41
    assert "GitHub: status 403. Retrying in" in caplog.text


def test_limits_are_waited_for_before_a_change(repository, cloud, retry_waits):
    cloud.github.limits.secondary(retry_after=1)
    assert comment(repository, cloud) == ["Hello."]


@pytest.mark.parametrize("limit", ["primary", "retry_after"])
def test_a_limit_that_lasts_too_long_is_not_waited_for(repository, cloud, retry_waits, limit):
    began = time.time()
    if limit == "primary":
        cloud.github.limits.primary(seconds=3000)
    else:
        cloud.github.limits.secondary(retry_after=3000)
    message = refused(repository)
    assert "a rate limit of GitHub was exceeded" in message and "Retry" in message
    assert not retry_waits and len(cloud.asked("github")) == 1
    if limit == "primary":
        minutes = {time.strftime("%H:%M", time.gmtime(moment + 3000)) for moment in (began, time.time())}
        assert any(f"after {minute} UTC" in message for minute in minutes)


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
    assert time.monotonic() - started < 20  # as long as `connect_attempts` take, not all attempts


HTML = b"<html><body>Please sign in to the network.</body></html>"
ELSEWHERE = {"Location": "https://github.example.com/repos/acme/widget/releases"}


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b""),
        Response(200, b"null"),
        Response(200, b"{}"),
        Response(200, b"7"),
        Response(200, b"[null]"),
        Response(200, b'["model-1"]'),
        Response(200, b'{"message": "Hello."}'),
        Response(200, b'[{"id": 1}'),
        Response(200, HTML, {"Content-Type": "text/html"}),
        Response(200, b"[]", {"Link": "next"}),
        Response(200, b'[{"id": 1}]', {"Link": '<https://github.example.com/?page=2>; rel="next"'}),
        Response(204),
        *(Response(status) for status in (301, 302, 303, 304, 307, 308)),
        *(Response(status, headers=ELSEWHERE) for status in (301, 302, 307, 308)),
        Response(301, headers={"Location": "http://api.github.com/repos/acme/widget/releases"}),
        Response(301, headers={"Location": "https://api.github.com.example.com/"}),
    ],
    ids=lambda response: f"{response.status} {response.body.decode()[:20]} {[*response.headers.values()]}",
)
def test_no_damaged_response_is_an_empty_list(repository, cloud, response):
    cloud.github.proxy = iter([response])
    with pytest.raises(GitHubRefused) as refusal:
        with client.github_errors("Listing releases"):
            list(repository.get_releases())
    assert str(refusal.value).isprintable() and len(cloud.asked("github")) == 1


@pytest.mark.parametrize("body", [b"", b"null", b"[]", HTML])
def test_no_damaged_response_is_an_object(repository, cloud, body):
    cloud.github.proxy = iter([Response(200, body)])
    assert "GitHub's response is" in refused(repository)


def test_a_list_without_an_end_is_given_up(repository, cloud, monkeypatch):
    monkeypatch.setattr(requester, "MOST_PAGES", 5)
    cycle = [f'<https://api.github.com/repos/acme/widget/releases?per_page=100&page={n}>; rel="next"' for n in (2, 3)]
    cloud.github.proxy = (Response(200, b'[{"id": 1}]', {"Link": link}) for link in itertools.cycle(cycle))
    with pytest.raises(GitHubRefused, match="has no end after 5 pages"), client.github_errors("Listing releases"):
        list(repository.get_releases())
    assert len(cloud.asked("github")) == 5


def test_the_redirects_of_a_renamed_repository_are_followed(cloud_environment):
    github = cloud_environment.github
    github.former_names.add("acme/former")
    for number in range(150):
        github.releases.add(f"model-{number}", {})
    repository = client.repository("acme/former", github.token())
    assert len({release.tag_name for release in repository.get_releases()}) == 150
    assert len(cloud_environment.asked("github", "repos/list-releases")) == 3, "pages of 100 after a redirect"
    assert comment(repository, cloud_environment) == ["Hello."] and ask(repository)


def test_redirects_have_an_end(repository, cloud):
    here = {"Location": "https://api.github.com/repos/acme/widget"}
    cloud.github.proxy = itertools.repeat(Response(308, headers=here))
    assert "redirects more than 5 times" in refused(repository)


@pytest.mark.parametrize(
    "api, address, sent",
    [
        ("", "https://api.github.com/x", True),
        ("", "https://uploads.github.com/x", True),
        ("", "https://api.github.com:444/x", False),
        ("", "http://api.github.com/x", False),
        ("", "https://github.com/x", False),
        ("", "https://release-assets.githubusercontent.com/x", False),
        ("", "https://api.github.com@example.com/x", False),
        ("", "https://example.com/api.github.com", False),
        ("", "https://[", False),
        ("https://api.acme.ghe.com", "https://uploads.acme.ghe.com/x", True),
        ("https://api.acme.ghe.com", "https://api.github.com/x", False),
        ("https://github.example.com/api/v3", "https://github.example.com/api/uploads/x", True),
        ("https://github.example.com/api/v3", "https://uploads.github.com/x", False),
    ],
)
def test_only_hosts_of_the_api_are_sent_the_token(monkeypatch, api, address, sent):
    monkeypatch.setenv("GITHUB_API_URL", api)
    with contextlib.nullcontext() if sent else pytest.raises(hosts.InvalidResponse, match="on another host"):
        hosts.check_address(address)


def test_a_damaged_response_is_named():
    with pytest.raises(GitHubRefused, match="damaged in transit"), client.github_errors("Asking"):
        json.loads('{"half an ans')
