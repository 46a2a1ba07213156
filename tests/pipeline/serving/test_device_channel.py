"""Publishing for devices, and the channels that devices follow, in a folder and in a bucket."""

import dataclasses
import datetime
import hashlib
import json
import re
import time

import pytest
import requests

from pipeline.errors import (
    BrokenChannel,
    BrokenRelease,
    MissingSettings,
    NoDeviceModel,
    NothingToRollBack,
    OtherModelPublished,
)
from pipeline.serving import canary, device_channel, device_manifest
from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.device_manifest import DocumentRefused
from tests import documentation
from tests.devices import INPUT, Devices, Key, change
from tests.documentation import commands, paste
from tests.gcloud import Programs, new_project
from tests.killing import killed_at_each_step
from tests.places import in_a_bucket, in_a_folder


def publish(devices: Devices, *numbers: int) -> None:
    for number in numbers:
        device_channel.publish(devices.config, devices.release(number))


def promote(devices: Devices, tag: str, percent: int = 100) -> None:
    DeviceChannel(devices.config).reach(canary.promotion(tag), percent)


def roll_back(devices: Devices) -> None:
    DeviceChannel(devices.config).reach(canary.roll_back)


@in_a_folder
def test_what_is_published_describes_the_model(devices):
    config = devices.settings(device_min_app_version="2.1.0")
    release = devices.release(1)
    done = device_channel.publish(config, release)

    manifest = devices.manifest("model-1")
    assert devices.read("model-1/model.tflite") == b"TFL3 1"
    assert (manifest.file, manifest.bytes, manifest.sha256) == (
        "model.tflite",
        6,
        hashlib.sha256(b"TFL3 1").hexdigest(),
    )
    assert manifest.labels == ("cat", "dog") and manifest.quantization == "fp16"
    assert manifest.input == INPUT
    assert manifest.metrics == {"accuracy": 0.85, "images": 40} and manifest.escalation_threshold == 0.6
    assert manifest.created == release.created and manifest.minimum_app_version == "2.1.0"
    assert sorted(json.loads(devices.read("model-1/manifest.json"))) == sorted(
        ["kind", "format", "signature", *(field.name for field in dataclasses.fields(manifest))]
    )
    assert done.changed and done.channels.keys() == {"stable", "beta"}


def test_the_first_release_is_for_all_devices_and_the_next_one_for_some_of_beta(devices):
    publish(devices, 1)
    assert devices.model("stable") == devices.model("beta") == b"TFL3 1"

    publish(devices, 2)

    assert devices.shares("stable") == {b"TFL3 1": 200}
    shares = devices.shares("beta")
    assert 5 < shares[b"TFL3 2"] < 40 and sum(shares.values()) == 200


def test_promoting_gives_a_release_to_all_devices_and_rolling_back_takes_it_back(devices):
    publish(devices, 1, 2)

    promote(devices, "model-2")
    assert devices.model("stable") == devices.model("beta") == b"TFL3 2"

    roll_back(devices)
    assert devices.model("stable") == devices.model("beta") == b"TFL3 1"
    before = devices.pointer("stable"), devices.pointer("beta")
    roll_back(devices)
    assert (devices.pointer("stable"), devices.pointer("beta")) == before, "repeating it changes nothing"
    publish(devices, 2)
    assert (devices.pointer("stable"), devices.pointer("beta")) == before, "it had its turn"


@in_a_folder
def test_rolling_back_removes_the_canary(devices):
    publish(devices, 1, 2)
    roll_back(devices)
    assert devices.shares("beta") == devices.shares("stable") == {b"TFL3 1": 200}
    assert devices.pointer("stable").rolled_back == "model-2"


@in_a_folder
def test_a_promotion_in_stages_reaches_more_devices_each_time(devices):
    publish(devices, 1, 2)
    seen = []
    for percent in (20, 60, 100):
        promote(devices, "model-2", percent)
        assert devices.pointer().previous == "model-1"
        seen.append(devices.shares("stable").get(b"TFL3 2"))
    assert 20 < seen[0] < 60 < seen[1] < 150 and seen[2] == 200

    promote(devices, "model-2", 30)
    roll_back(devices)
    assert devices.shares("stable") == {b"TFL3 1": 200}


@in_a_folder
def test_a_roll_back_is_a_newer_pointer_and_an_older_one_is_refused(devices):
    publish(devices, 1, 2)
    promote(devices, "model-2")
    old, serial = devices.read("channels/stable.json"), devices.pointer().serial

    roll_back(devices)
    assert devices.pointer().serial > serial

    devices.workspace.put({"devices/classification/channels/stable.json": old})
    with pytest.raises(DocumentRefused, match=f"serial is {serial}, older"):
        devices.pointer()


@in_a_folder
def test_serials_rise_also_where_pointers_were_lost_or_the_clock_stands_still(devices, monkeypatch):
    publish(devices, 1, 2)
    for tag in ("model-2", "model-1", "model-2"):
        serial = devices.pointer().serial
        promote(devices, tag)  # within a second
        assert devices.pointer().serial > serial
    for channel in ("stable", "beta"):
        devices.workspace.remove(f"devices/classification/channels/{channel}.json")
    devices.serials = {"stable": int(time.time()) - 5}

    promote(devices, "model-1")

    assert devices.model() == b"TFL3 1"


@in_a_folder
def test_pointers_are_signed_again_when_half_of_their_time_has_passed(devices):
    publish(devices, 1)
    first = devices.pointer()
    promote(devices, "model-1")
    assert devices.pointer() == first

    longer = devices.settings(device_valid_days=200)
    done = DeviceChannel(longer).reach(canary.promotion("model-1"))

    again = devices.pointer()
    assert done.changed and again.serial > first.serial
    expiry = device_manifest.parse_time(again.expires) - device_manifest.parse_time(again.issued)
    assert expiry == datetime.timedelta(days=200)
    assert dataclasses.replace(again, serial=0, issued="", expires="") == dataclasses.replace(
        first, serial=0, issued="", expires=""
    )


@in_a_folder
def test_a_pointer_that_is_not_signed_again_expires(devices):
    publish(devices, 1)
    late = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=91)
    options = {"model": "classification", "channel": "stable", "now": late}
    with pytest.raises(DocumentRefused, match="expired"):
        device_manifest.read_pointer(devices.read("channels/stable.json"), [devices.key.public], **options)


@in_a_bucket
def test_files_of_a_bucket_are_cached_for_ever_and_pointers_for_a_minute(devices, cloud):
    publish(devices, 1)
    shown = {
        name.partition("/devices/classification/")[2]: cloud.gcs.find(f"gs://{cloud.bucket}/{name}")
        for name in cloud.gcs.names(f"{devices.config.device_channel}/devices/")
    }
    headers = {name: (of.content_type, of.properties["cacheControl"]) for name, of in shown.items()}
    assert headers == {
        "channels/beta.json": ("application/json", "public, max-age=60"),
        "channels/stable.json": ("application/json", "public, max-age=60"),
        "model-1/manifest.json": ("application/json", "public, max-age=31536000, immutable"),
        "model-1/model.tflite": ("application/octet-stream", "public, max-age=31536000, immutable"),
    }


@in_a_bucket
def test_a_key_in_kms_signs(devices, cloud):
    key = cloud.kms.add("spanloop", "device-models")
    device_channel.publish(devices.settings(device_signing_key=key), devices.release(1))
    assert devices.pointer(key=cloud.kms.pem(key)).tag == "model-1"
    with pytest.raises(DocumentRefused, match="another key"):
        devices.pointer()


@in_a_bucket
@pytest.mark.parametrize("failure", ["503", "lose"])
def test_each_call_may_fail_once(devices, cloud, retry_waits, failure):
    key = cloud.kms.add("spanloop", "device-models")
    faults = [("storage", method) for method in ("objects.insert", "xml.put", "objects.download")]
    faults += [("cloudkms", method) for method in ("AsymmetricSign", "GetPublicKey")]
    for service, method in faults:
        cloud.faults.add(service, method, kind=failure)
    device_channel.publish(devices.settings(device_signing_key=key), devices.release(1))
    assert devices.pointer(key=cloud.kms.pem(key)).tag == "model-1"
    assert {(asked.service, asked.method) for asked in cloud.requests if asked.fault} == set(faults)


@in_a_bucket
def test_the_commands_of_the_pages_make_a_key_and_a_bucket_that_anyone_may_read(devices, cloud, tmp_path):
    scripts = [*commands("docs/devices.md#a-key-in-cloud-kms"), *commands("docs/devices.md#a-bucket-for-devices")]
    given = {"GCP_PROJECT": cloud.project, "GCP_REGION": cloud.region, "APP_BUCKET": "models-of-a-test"}
    given |= {"WORKSPACE": f"gs://{cloud.bucket}/spanloop", "REPOSITORY": cloud.github.repository}
    given |= documentation.signed_in_as(cloud, new_project(cloud))
    scripts = ["alias ci='.venv/bin/python -m ci'", *scripts]
    accounts = {name: f"{name.lower()}@{cloud.project}.iam.gserviceaccount.com" for name in ("PIPELINES", "GITHUB")}
    with Programs(cloud) as programs:
        printed = paste("\n".join([*scripts, "export"]), tmp_path, programs.folder, **given)
    exports = dict(re.findall(r'^declare -x (DEVICE_\w+)="(.+)"$', printed, re.M))
    config = devices.settings(
        device_channel=exports["DEVICE_CHANNEL"], device_signing_key=exports["DEVICE_SIGNING_KEY"]
    )

    device_channel.publish(config, devices.release(1))

    url = "https://storage.googleapis.com/models-of-a-test/devices/classification/channels/stable.json"
    found = requests.get(url, headers={"Origin": "https://app.example.com"}, timeout=60)
    pinned = [(tmp_path / "device-public-key.pem").read_text()]
    pointer = device_manifest.read_pointer(found.content, pinned, model="classification", channel="stable")
    assert pointer.tag == "model-1"
    assert found.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert found.headers["Cache-Control"] == "public, max-age=60"
    elsewhere = requests.get(url, headers={"Origin": "https://other.example.com"}, timeout=60)
    assert "Access-Control-Allow-Origin" not in elsewhere.headers
    private = url.replace("models-of-a-test", f"{cloud.bucket}")
    assert requests.get(private, timeout=60).status_code == 401
    key = exports["DEVICE_SIGNING_KEY"].partition("/cryptoKeyVersions")[0]
    for account in accounts.values():
        assert cloud.policies.allowed(account, key, ["cloudkms.cryptoKeyVersions.useToSign"])


def test_what_was_published_is_never_changed(devices):
    publish(devices, 1)
    before = {name: devices.workspace.generation(f"devices/classification/model-1/{name}") for name in FILES}
    publish(devices, 1)
    after = {name: devices.workspace.generation(f"devices/classification/model-1/{name}") for name in FILES}
    assert before == after

    devices.config = devices.settings(releases=f"{devices.workspace.address}/others")
    other = devices.release(7)
    assert other.tag == "model-1"
    with pytest.raises(OtherModelPublished) as error:
        device_channel.publish(devices.config, other)
    assert error.value.tag == "model-1"
    devices.workspace.remove("devices/classification/model-1/manifest.json")
    with pytest.raises(OtherModelPublished):
        device_channel.publish(devices.config, other)


FILES = ("model.tflite", "manifest.json")


@in_a_folder
def test_a_publisher_builds_on_nothing_that_its_key_has_not_signed(devices, tmp_path):
    publish(devices, 1, 2)
    pointer = devices.read("channels/stable.json")
    (tmp_path / "other").mkdir()
    stranger = devices.settings(device_signing_key=Key(tmp_path / "other" / "key.pem").file)

    with pytest.raises(BrokenChannel, match="another key.*devices.md"):
        DeviceChannel(stranger).reach(canary.promotion("model-2"))
    with pytest.raises(BrokenChannel, match="manifest.json"):
        DeviceChannel(stranger).publish(devices.release(1))

    altered = pointer.replace(b'"previous": null', b'"previous": "model-9"')
    devices.workspace.put({"devices/classification/channels/stable.json": altered})
    with pytest.raises(BrokenChannel, match="altered"):
        roll_back(devices)
    assert devices.read("channels/stable.json") == altered


@in_a_folder
def test_refusals_name_the_next_step(devices):
    with pytest.raises(MissingSettings, match="DEVICE_CHANNEL.*DEVICE_SIGNING_KEY"):
        DeviceChannel(devices.settings(device_channel="", device_signing_key=""))
    with pytest.raises(NothingToRollBack, match="no model was promoted yet"):
        roll_back(devices)
    with pytest.raises(NoDeviceModel, match="DEVICE_MODEL=true"):
        device_channel.publish(devices.config, devices.release(1, device=False))
    publish(devices, 2)
    with pytest.raises(NothingToRollBack, match="model-2 is the first"):
        roll_back(devices)
    release = devices.release(3)
    devices.workspace.put({"releases/model-3/model.tflite": b"damaged"})
    with pytest.raises(BrokenRelease, match="model.tflite"):
        device_channel.publish(devices.config, release)
    assert not [name for name in devices.workspace.files("devices") if "model-3" in name]


@in_a_folder
@pytest.mark.parametrize(
    "what, on_stable, on_beta",
    [
        ("publish", "model-1", "model-2"),
        ("roll back", "model-1", "model-1"),
    ],
)
def test_after_a_kill_at_any_step_devices_find_a_whole_model_and_the_same_call_completes_it(
    devices, what, on_stable, on_beta
):
    publish(devices, 1)
    devices.release(2)
    if what == "roll back":
        publish(devices, 2)
        promote(devices, "model-2")
    prepare = (
        "from tests.devices import change, configured\n"
        f"work = lambda storage: change({what!r}, configured(storage.address(), {devices.key.file!r}))\n"
    )
    with killed_at_each_step(devices.workspace, prepare, "work") as copies:
        assert len(copies) > 20
        for workspace in copies:
            app = devices.copied(workspace)
            assert {app.model("stable"), app.model("beta")} <= {b"TFL3 1", b"TFL3 2"}
            change(what, app.config)
            assert (app.pointer("stable").tag, app.pointer("beta").tag) == (on_stable, on_beta)
            assert app.model("stable") == app.read(f"{on_stable}/model.tflite")
