"""Secrets as Google's client reads them from Secret Manager."""

import pytest

from pipeline.cloud import secrets
from pipeline.errors import SecretUnreadable

TOKEN = "ghp_a-token-of-a-test"


@pytest.fixture
def secret(cloud_environment) -> str:
    """The name of a secret that holds TOKEN."""
    name = f"projects/{cloud_environment.project}/secrets/github-token"
    cloud_environment.secrets.add(name, b"an older one")
    cloud_environment.secrets.add(name, TOKEN.encode() + b"\n")
    return name


def test_the_latest_or_a_numbered_version_is_read(secret):
    assert secrets.read(f"{secret}/versions/latest") == TOKEN
    assert secrets.read(f"{secret}/versions/1") == "an older one"


def test_a_pipeline_reads_the_token_from_secret_manager_only(secret, cloud, monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)

    assert secrets.github_token(f"{secret}/versions/latest") == TOKEN

    assert [asked.service for asked in cloud.asked_of_services()] == ["secretmanager"]
    assert not any(TOKEN in str(asked) for asked in cloud.requests)


def test_a_workflow_reads_the_token_from_the_environment_without_a_call(secret, cloud, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    assert secrets.github_token(f"{secret}/versions/1") == TOKEN
    assert not cloud.asked_of_services()


def test_without_either_there_is_no_token(monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    assert secrets.github_token("") == ""


@pytest.mark.parametrize("kind", ["503", "cut", "429"])
def test_a_transient_failure_is_retried(secret, cloud, kind):
    cloud.faults.add("secretmanager", "AccessSecretVersion", kind=kind)
    assert secrets.read(f"{secret}/versions/latest") == TOKEN


def test_a_missing_damaged_or_forbidden_secret_is_named(secret, cloud):
    with pytest.raises(SecretUnreadable, match="not found.*ci doctor") as refused:
        secrets.read(f"{secret}-2/versions/latest")
    assert refused.value.name == f"{secret}-2/versions/latest" and "not found" in refused.value.reason
    with pytest.raises(SecretUnreadable, match="not found"):
        secrets.read(f"{secret}/versions/3")
    cloud.secrets.corrupt = True
    with pytest.raises(SecretUnreadable, match="damaged"):
        secrets.read(f"{secret}/versions/latest")
    cloud.policies.clear()
    with pytest.raises(SecretUnreadable, match="secretmanager.versions.access.* denied"):
        secrets.read(f"{secret}/versions/latest")


def test_bytes_that_are_not_text_are_not_shown(secret, cloud):
    cloud.secrets.add(secret, b"\xff" + TOKEN.encode())
    with pytest.raises(SecretUnreadable, match="not UTF-8 text") as raised:
        secrets.read(f"{secret}/versions/latest")
    assert TOKEN not in repr(raised.getrepr(style="native"))
