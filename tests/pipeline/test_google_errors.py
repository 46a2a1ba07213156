"""What errors of Google's libraries mean, and that each command that meets one says the same."""

import json

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core.exceptions import PermissionDenied, RetryError, ServiceUnavailable
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from ci import outcome
from ci.__main__ import commands
from pipeline import google_errors
from pipeline.cloud import vertex
from pipeline.errors import ApiDisabled, NoCredentials, NoNetwork
from pipeline.storage import bucket_client

DISABLED = (
    "Vertex AI API has not been used in project 12 before or it is disabled. Enable it by visiting"
    " https://console.developers.google.com/apis/api/aiplatform.googleapis.com/overview?project=12 then retry."
)
PLUGIN = "Getting metadata from plugin failed with error: "


@pytest.mark.parametrize(
    ("error", "kind", "problem"),
    [
        (DefaultCredentialsError("File x was not found.", ValueError("y")), NoCredentials, "File x was not found"),
        (RefreshError("invalid_grant: Bad", {"error": "invalid_grant"}), NoCredentials, "invalid_grant: Bad"),
        (ServiceUnavailable(f"{PLUGIN}invalid_grant: Bad"), NoCredentials, ": invalid_grant: Bad"),
        (ServiceUnavailable(f"{PLUGIN}Max retries exceeded with url"), NoNetwork, "cannot be reached"),
        (ServiceUnavailable("failed to connect to all addresses; last error: x"), NoNetwork, "cannot be reached"),
        (RetryError("Timeout, last exception: DNS resolution failed", None), NoNetwork, "cannot be reached"),
        (TransportError("anything"), NoNetwork, "cannot be reached"),
        (requests.ConnectionError("Max retries exceeded with url: /token"), NoNetwork, "cannot be reached"),
        (PermissionDenied(DISABLED), ApiDisabled, "aiplatform.googleapis.com: the project"),
    ],
)
def test_a_cause_outside_of_the_call_is_named(error, kind, problem):
    found = google_errors.explain(error)
    assert isinstance(found, kind) and problem in found.problem


@pytest.mark.parametrize(
    "error",
    [PermissionDenied("Permission 'x' denied"), ServiceUnavailable("try later"), requests.ConnectionError(OSError())],
)
def test_another_cause_is_left_to_the_caller(error):
    assert google_errors.explain(error) is None
    assert google_errors.message(error)


# Commands that call Google Cloud, by their arguments.
COMMANDS = {
    "build-image": (),
    "clean": (),
    "copy-modules": (),
    "count-collected": ("--threshold", "1"),
    "doctor": (),
    "evaluate": ("--on", "vertex"),
    "history": (),
    "promote": (),
    "rollback": (),
    "setup": ("--dry-run",),
    "status": (),
    "submit": ("--pipeline", "training"),
    "submit --dry-run": ("--pipeline", "training", "--dry-run"),
}
LOCAL = {"compile", "serve", "predict", "export-dataset"}  # need no credentials, or an address first
LOGIN = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a valid file."
DOCTOR = "`python -m ci doctor` prints the command that enables it, `python -m ci setup` enables all."


@pytest.fixture
def ready(cloud, cloud_config, span_in_bucket, monkeypatch, tmp_path, retry_waits):
    """A project that is ready, and nothing else in this process's environment."""
    cloud.registry.add("spanloop")
    for name, value in {
        "WORKSPACE": cloud_config.workspace,
        "PIPELINE_IMAGE": cloud_config.image,
        "VERTEX_ENDPOINT": "digits",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    yield cloud
    bucket_client._client.cache_clear()  # they may hold credentials that do not work


def said(capsys, name: str) -> str:
    """What a command prints where a process has neither token nor connection yet."""
    vertex.cached_client.cache_clear()
    bucket_client._client.cache_clear()
    capsys.readouterr()
    code = outcome.run(name.split()[0], list(COMMANDS[name]))
    found = "".join(capsys.readouterr())
    assert code == 1 and "Traceback" not in found and "Unexpected" not in found, f"{name}: {found}"
    return found


def present() -> list[str]:
    """The commands of the list that there are."""
    return [name for name in COMMANDS if name.split()[0] in commands()]


def test_every_command_on_google_cloud_is_listed():
    on_cloud = {name for name, (group, _) in commands().items() if group == "Google Cloud"}
    assert on_cloud <= {name.split()[0] for name in COMMANDS} | LOCAL


def _credentials(folder, cause: str, key: str) -> tuple[str, str]:
    """Returns a path for GOOGLE_APPLICATION_CREDENTIALS, and the problem that it leads to."""
    file = folder / "key.json"
    if cause == "gone":
        return str(file), f"File {file} was not found"
    if cause == "none":
        return "", "Your default credentials were not found"
    if cause == "revoked":
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = other.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with open(key, encoding="utf-8") as known:
            file.write_text(json.dumps({**json.load(known), "private_key": pem.decode()}))
        return str(file), "invalid_grant: Invalid JWT Signature"
    texts = {
        "not JSON": ("{nonsense", f"File {file} is not a valid json file"),
        "no key": ('{"type": "service_account"}', f"Failed to load service account credentials from {file}"),
        "of no type": ('{"type": "else"}', f"The file {file} does not have a valid type"),
    }
    text, problem = texts[cause]
    file.write_text(text)
    return str(file), problem


@pytest.mark.parametrize("cause", ["gone", "none", "revoked", "not JSON", "no key", "of no type"])
def test_credentials_that_do_not_work(ready, monkeypatch, capsys, tmp_path, cause):
    path, problem = _credentials(tmp_path, cause, ready.environment["GOOGLE_APPLICATION_CREDENTIALS"])
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", path)

    found = {name: said(capsys, name) for name in present()}

    doctor = found.pop("doctor")
    (line,) = {text.strip().splitlines()[-1] for text in found.values()}
    assert line.startswith(f"error: Credentials of Google Cloud: {problem}") and line.endswith(f". {LOGIN}"), line
    assert line.removeprefix("error: ").removesuffix(f". {LOGIN}") in doctor
    assert "$ gcloud auth application-default login" in doctor


def test_no_network(ready, monkeypatch, capsys):
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    for name in present():
        expected = "Google Cloud: it cannot be reached. Check the network and HTTPS_PROXY, then run it again"
        assert expected in said(capsys, name), name


@pytest.mark.parametrize("api", ["storage", "aiplatform"])
def test_an_api_that_is_not_enabled(ready, capsys, api):
    ready.apis.disabled.add(f"{api}.googleapis.com")
    of_vertex = {"promote", "rollback", "submit", "submit --dry-run"}
    asking = set(present()) - {"doctor", "setup"} if api == "storage" else of_vertex
    problem = f"{api}.googleapis.com: the project has not enabled this API"

    for name in asking:
        assert said(capsys, name).strip().splitlines()[-1] == f"error: {problem}. {DOCTOR}", name
    doctor = said(capsys, "doctor")
    assert problem in doctor
    assert f"$ gcloud services enable {api}.googleapis.com --project={ready.project}" in doctor


def test_a_project_that_may_not_be_seen(ready, monkeypatch, capsys):
    monkeypatch.setenv("GCP_PROJECT", "another-project")
    for name in ("PIPELINE_SERVICE_ACCOUNT", "BUILD_SERVICE_ACCOUNT", "IMAGE_REPOSITORY"):
        monkeypatch.setenv(name, "")

    for name in ("promote", "rollback", "setup"):
        line = said(capsys, name).strip().splitlines()[-1]
        assert "another-project" in line and "doctor` shows what is missing" in line, line
    assert "another-project does not exist, or you may not see it" in said(capsys, "doctor")
