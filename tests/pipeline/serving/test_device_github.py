"""Models for devices as files of GitHub releases: no failed call loses a pointer."""

import concurrent.futures
import datetime

import pytest

from pipeline.errors import GitHubRefused
from pipeline.releases.factory import open_releases
from pipeline.serving import device_github, rollout
from pipeline.serving.device_github import GitHubPlace
from pipeline.serving.device_manifest import read_pointer
from tests.conftest import Workspace
from tests.devices import Devices

pytestmark = pytest.mark.usefixtures("retry_waits")

STABLE = "devices/classification/channels/stable.json"
CHANNELS, MODEL_1 = "devices-classification-channels", "devices-classification-model-1"


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def there(cloud_environment):
    """The releases on the local GitHub."""
    return cloud_environment.github.releases


@pytest.fixture
def place(cloud_environment) -> GitHubPlace:
    github = cloud_environment.github
    return GitHubPlace(github.repository, github.token(contents="write"))


def test_releases_are_promoted_and_rolled_back_on_github(cloud_environment, there, tmp_path, monkeypatch):
    github = cloud_environment.github
    monkeypatch.setenv("GITHUB_TOKEN", github.token(contents="write"))
    address = f"github:{github.repository}"
    devices = Devices(Workspace(tmp_path / "workspace"), tmp_path, device_channel=address)
    for number in (1, 2):
        rollout.promote(devices.config, devices.release(number).tag)
        pointer = read_pointer(
            there.published()[CHANNELS]["stable.json"],
            [devices.key.public],
            model="classification",
            channel="stable",
            last_serial=devices.serials.get("stable", 0),
        )
        devices.serials["stable"] = pointer.serial
        assert pointer.tag == f"model-{number}"
    rollout.roll_back(devices.config)

    assert sorted(there.published()[CHANNELS]) == ["beta.json", "stable.json"]
    assert there.published()[MODEL_1]["model.tflite"] == b"TFL3 1" and "manifest.json" in there.published()[MODEL_1]
    assert devices.config.device_channel == address
    assert rollout.served(devices.config).devices["stable"].tag == "model-1"
    assert open_releases(address).tags() == [], "none of them is a release of a model"


def test_a_file_is_created_once(place, there, tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"{}")
    assert place.create("devices/classification/model-1/manifest.json", str(tmp_path / "manifest.json"))
    (tmp_path / "manifest.json").write_bytes(b"[]")
    assert not place.create("devices/classification/model-1/manifest.json", str(tmp_path / "manifest.json"))
    assert there.published()[MODEL_1] == {"manifest.json": b"{}"}
    assert place.read("devices/classification/model-1/manifest.json") == b"{}"
    assert place.read("devices/classification/model-1/model.tflite") is None
    assert place.read("devices/classification/model-9/manifest.json") is None


def test_a_pointer_is_found_after_a_kill_at_any_call_and_the_next_one_replaces_it(place, there, monkeypatch):
    """Killed before the first, second, third ... call of a replacement."""
    place.replace(STABLE, b"0")
    requester, found = place._repository._requester, b"0"
    for last in range(20):
        content = b"%d" % (last + 1)
        with monkeypatch.context() as patch:
            patch.setattr(requester, "requestJsonAndCheck", killed_after(last, requester.requestJsonAndCheck))
            try:
                place.replace(STABLE, content)
                killed = False
            except Killed:
                killed = True
        assert place.read(STABLE) in (content, found)
        found = place.read(STABLE)
        if not killed:
            break
    assert not killed and last > 3
    assert there.published()[CHANNELS] == {"stable.json": content}


def killed_after(calls: int, request):
    """A method that makes some calls, and raises Killed at the next one."""
    left = iter(range(calls))

    def counted(*given, **options):
        if next(left, None) is None:
            raise Killed
        return request(*given, **options)

    return counted


@pytest.mark.parametrize("kind", ["503", "lose"])
def test_each_call_may_fail_once(place, cloud, there, kind):
    methods = ("get-release-by-tag", "create-release", "list-release-assets", "upload-release-asset")
    faults = {f"repos/{method}" for method in (*methods, "delete-release-asset", "update-release-asset")}
    for method in faults:
        cloud.faults.add("github", method, kind=kind)
    for content in (b"1", b"2"):
        place.replace(STABLE, content)
    assert {asked.method for asked in cloud.requests if asked.fault} == faults
    assert there.published()[CHANNELS] == {"stable.json": b"2"}


def test_a_file_that_did_not_arrive_is_sent_again(place, there, tmp_path):
    there.failing_uploads = 1
    with pytest.raises(GitHubRefused):
        place.replace(STABLE, b"1")
    assert place.read(STABLE) is None
    place.replace(STABLE, b"1")
    assert there.published()[CHANNELS] == {"stable.json": b"1"}


def test_publishers_at_the_same_time_lose_no_pointer(cloud_environment, place, there):
    github = cloud_environment.github
    most, inside = [], []

    def publish(number: int) -> None:
        own = GitHubPlace(github.repository, github.token(contents="write"))
        with own.exclusive():
            inside.append(number)
            most.append(len(inside))
            own.replace(STABLE, b"%s %d" % (own.read(STABLE) or b"", number))
            inside.remove(number)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(publish, range(3)))
    assert set(most) == {1}
    assert sorted(there.published()[CHANNELS]["stable.json"].split()) == [b"0", b"1", b"2"]
    assert not there.published()["devices"]


def test_a_lock_that_a_killed_process_left_expires(place, there, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed), place.exclusive():
        patch.setattr(device_github, "_delete", lambda asset: None)
        raise Killed
    assert list(there.published()["devices"]) == ["publishing.lock"]
    monkeypatch.setattr(device_github, "EXPIRES", datetime.timedelta(0))
    with place.exclusive():
        place.replace(STABLE, b"1")
    assert place.read(STABLE) == b"1" and not there.published()["devices"]


def test_a_token_that_may_not_write_is_refused_with_the_permission(cloud_environment):
    github = cloud_environment.github
    reader = GitHubPlace(github.repository, github.token(contents="read"))
    assert reader.read(STABLE) is None
    with pytest.raises(GitHubRefused, match="contents"):
        reader.replace(STABLE, b"1")
