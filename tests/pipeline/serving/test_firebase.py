"""Device models in Firebase ML, published by Google's own client."""

import dataclasses
import json
import warnings

import pytest

from pipeline.config import Config
from pipeline.errors import CloudRefused, ConfigError, MissingSettings, NoDeviceModel
from pipeline.releases.factory import releases_of
from pipeline.serving import firebase
from tests.devices import Devices

GOOD = b"\x1c\0\0\0TFL3 %d"


@pytest.fixture
def kind() -> str:
    return "bucket"


@pytest.fixture
def devices(cloud, workspace, tmp_path) -> Devices:
    return Devices(workspace, tmp_path, project=cloud.project, service_account=cloud.account, firebase_model="digits")


@pytest.fixture
def release(devices):
    return lambda number, **more: devices.release(number, data=GOOD % number, **more)


@pytest.fixture
def only(cloud):
    """The only model, as apps find it by its name."""

    def model() -> tuple[str, list[str], bool, int]:
        (found,) = cloud.firebase.models.values()
        of = found["tfliteModel"]
        return found["displayName"], found["tags"], found["state"]["published"], int(of["sizeBytes"])

    return model


def test_a_release_is_published_once_and_replaced_by_the_next(cloud, devices, release, only):
    lines = []
    first = firebase.publish(devices.config, release(1), lines.append)
    assert only() == ("digits", ["model-1"], True, len(GOOD % 1))
    assert lines[0] == firebase.NOTICE and "2027-06-15" in firebase.NOTICE
    changes = len(cloud.asked("firebaseml", "UpdateModel"))

    assert firebase.publish(devices.config, releases_of(devices.config).get("model-1")) == first
    assert len(cloud.asked("firebaseml", "UpdateModel")) == changes
    assert firebase.publish(devices.config, release(2)) == first
    assert only() == ("digits", ["model-2"], True, len(GOOD % 2))
    firebase.publish(devices.config, releases_of(devices.config).get("model-1"))
    assert only()[1] == ["model-2"], "a retried run does not bring back an older release"


def test_what_a_killed_process_began_is_finished(cloud, devices, release, only):
    cloud.faults.add("firebaseml", "UpdateModel", kind="500", times=20)  # the client repeats it
    with pytest.raises(CloudRefused, match="Publishing model-1 to Firebase ML as digits failed"):
        firebase.publish(devices.config, release(1))
    cloud.faults.clear()
    firebase.publish(devices.config, releases_of(devices.config).get("model-1"))
    assert only() == ("digits", ["model-1"], True, len(GOOD % 1))


def test_a_change_that_takes_its_time_is_waited_for(cloud, devices, release, only, monkeypatch):
    from firebase_admin import ml

    monkeypatch.setattr(ml._MLService, "POLL_BASE_WAIT_TIME_SECONDS", 0.01)
    cloud.firebase.slow = True
    firebase.publish(devices.config, release(1))
    assert only() == ("digits", ["model-1"], True, len(GOOD % 1))


def test_what_the_service_refuses_is_an_error_in_a_line(cloud, devices, release):
    damaged = devices.release(1, data=b"no model")
    with pytest.raises(CloudRefused, match="The file is not a valid TFLite model"):
        firebase.publish(devices.config, damaged)
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/firebaseml.admin", cloud.account)
    with pytest.raises(CloudRefused, match="Permission 'firebaseml.models.list' denied"):
        firebase.publish(devices.config, damaged)


def test_without_a_key_iam_signs(cloud, devices, release, only, monkeypatch, tmp_path):
    """As in a workflow, whose identity Google trusts, and on machines of Vertex AI."""
    pool = f"projects/{cloud.project_number}/locations/global/workloadIdentityPools/github"
    cloud.pools.add("github", {"google.subject": "assertion.sub"}, "https://github.example")
    member = f"principal://iam.googleapis.com/{pool}/subject/repo"
    cloud.policies.grant(f"serviceAccounts/{cloud.account}", "roles/iam.workloadIdentityUser", member)
    audience = f"//iam.googleapis.com/{pool}/providers/github"
    (tmp_path / "identity").write_text(cloud.oauth.identity("https://github.example", "repo", f"https:{audience}"))
    account = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "identity")},
    }
    made = release(1)
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    firebase.publish(devices.config, made)
    assert only()[1] == ["model-1"] and cloud.asked("oauth", "signBlob")


def test_no_warning_of_the_client_gets_out(devices, release):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        firebase.publish(devices.config, release(1))
    assert not [str(one.message) for one in seen if "irebase" in f"{one.message}{one.filename}"]


def test_what_cannot_be_published_is_said_before(devices, release):
    with pytest.raises(NoDeviceModel):
        firebase.publish(devices.config, release(1, device=False))
    with pytest.raises(MissingSettings, match="WORKSPACE"):
        firebase.check_settings(dataclasses.replace(devices.config, workspace="./workspace"))
    with pytest.raises(ConfigError, match="up to 32 letters"):
        Config.from_environment({"FIREBASE_MODEL": "my-digits"})
