"""Errors of Cloud Storage are one line with the next step; transient ones are retried."""

import gzip
import io
import os
import subprocess
import sys

import pytest

from pipeline.errors import ObjectNotFound, StorageError
from pipeline.storage.bucket_client import Client
from tests.emulators.gcs.objects import Content


@pytest.fixture
def client(cloud_environment, retry_waits) -> Client:
    return Client(cloud_environment.bucket)


def refusal(call, *arguments) -> str:
    with pytest.raises(StorageError) as error:
        call(*arguments)
    assert "\n" not in str(error.value) and error.value.exit_code == 1
    return str(error.value)


def test_a_missing_bucket_is_named(cloud_environment):
    client = Client("no-such-bucket")
    for call in (lambda: next(client.listing("a")), lambda: client.write("a", b""), lambda: client.read("a")):
        message = refusal(call)
        assert "gs://no-such-bucket/a: " in message and "bucket" in message and "exist" in message, message


def test_the_missing_role_is_named(cloud, client):
    cloud.gcs.deny("storage.objects.create")
    cloud.gcs.deny("storage.objects.list")
    for call in (lambda: client.write("a", b""), lambda: next(client.listing("a"))):
        message = refusal(call)
        assert cloud.account in message and "roles/storage.objectUser" in message, message


@pytest.mark.parametrize("verb", ["write", "delete", "move"])
def test_what_the_rules_of_a_bucket_keep_is_named_with_the_rule(cloud, client, verb):
    client.write("a", b"first")
    generation = client.about("a")["generation"]
    change = {
        "write": lambda: client.write("a", b"second", None),
        "delete": lambda: client.delete("a"),
        "move": lambda: client.move("a", generation, "b"),
    }[verb]

    cloud.gcs.store.bucket(cloud.bucket).properties["retentionPolicy"] = {"retentionPeriod": "3600"}
    message = refusal(change)
    assert "retention policy keeps it" in message and "docs/operations.md#rules-of-the-bucket" in message
    assert "roles/" not in message
    cloud.gcs.store.bucket(cloud.bucket).properties.clear()
    cloud.gcs.find(f"gs://{cloud.bucket}/a").properties["eventBasedHold"] = True
    assert "A hold keeps it" in refusal(change)
    assert cloud.gcs.read(f"gs://{cloud.bucket}/a") == b"first"


def test_an_object_stored_as_gzip_is_downloaded_whole_after_a_lost_connection(cloud, client):
    data = os.urandom(300_000)
    content = Content.of(gzip.compress(data), "", {"contentEncoding": "gzip"})
    cloud.gcs.store.put(cloud.bucket, "packed", content)
    for kind in ("cut", "lose", "503"):
        cloud.faults.add("storage", "objects.download", kind=kind)
        file = io.BytesIO()
        assert client.download("packed", file) and file.getvalue() == data
    assert client.read("packed")[0] == data
    assert not client.download("packed", io.BytesIO(), most=299_999)


@pytest.mark.parametrize("read", [Client.read, lambda client, name: client.download(name, io.BytesIO())])
def test_a_missing_object_is_named(client, read):
    with pytest.raises(ObjectNotFound, match="No such object") as error:
        read(client, "a/b")
    assert error.value.name == error.value.place == f"gs://{client.bucket}/a/b"


def test_a_missing_object_can_be_looked_up_and_deleted(client):
    assert client.about("a/b") is None
    assert client.delete("a/b")


@pytest.mark.parametrize(
    "environment, remedy",
    [
        ({"GOOGLE_APPLICATION_CREDENTIALS": "", "HOME": "/nonexistent"}, "gcloud auth application-default login"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/key.json"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}, "HTTPS_PROXY"),
    ],
)
def test_missing_credentials_and_networks_are_named(cloud, monkeypatch, retry_waits, environment, remedy):
    for name, value in (cloud.environment | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")

    assert remedy in refusal(Client(cloud.bucket).read, "a")


@pytest.mark.parametrize("failure", ["429", "500", "503", "cut", "lose", "expire"])
def test_a_transient_failure_leaves_one_result(cloud, client, failure):
    times = 1 if failure == "expire" else 3

    def after(failing, *arguments):
        cloud.faults.add(service="storage", kind=failure, times=times)
        found = failing(*arguments)
        cloud.faults.clear()
        return found

    written = after(client.write, "a", b"1")
    assert written and client.read("a") == (b"1", written.generation)
    changed = after(client.write, "a", b"22", written.generation)
    assert changed.generation != written.generation
    assert after(client.about, "a")["generation"] == changed.generation
    assert after(client.read, "a")[0] == b"22"
    whole = io.BytesIO()
    after(client.download, "a", whole)
    assert whole.getvalue() == b"22"
    assert [item["name"] for item in after(lambda: list(client.listing("a")))[0]["items"]] == ["a"]
    moved = after(client.move, "a", changed.generation, "b")
    assert moved.status in (200, 404, 412)
    assert client.about("a") is None and client.as_written(changed.mark, "b")
    assert after(client.delete, "b", client.about("b")["generation"])
    assert client.about("b") is None


@pytest.mark.parametrize("failure", ["cut", "lose"])  # after a 503 google-auth itself waits for seconds
def test_a_request_for_a_token_is_retried(cloud, client, failure):
    fault = cloud.faults.add(service="oauth", method="token", kind=failure, times=2)

    assert client.write("a", b"1")
    assert fault.done == 2


def test_the_write_of_another_client_is_not_mistaken_for_this_one(cloud, client):
    assert client.write("a", b"1")
    cloud.faults.add(service="storage", kind="503")
    assert client.write("a", b"1") is None  # the same bytes, but not this write
    assert client.write("a", b"2", "12345") is None
    assert client.read("a")[0] == b"1"
    assert not client.delete("a", "12345")


def test_a_lasting_failure_is_named_in_one_line(cloud, client, caplog):
    cloud.faults.add(service="storage", kind="503", times=100)

    assert "does not answer (status 503)" in refusal(client.read, "a")


def test_a_large_object_is_streamed(cloud, client, tmp_path):
    data = bytes(range(256)) * 40_000
    (tmp_path / "large").write_bytes(b"before" + data)
    with open(tmp_path / "large", "rb") as file:
        file.seek(6)
        for fault in ("cut", "lose"):
            cloud.faults.add(service="storage", method="objects.insert", kind=fault)
        assert client.write("large", file)
    assert cloud.gcs.read(f"gs://{cloud.bucket}/large") == data
    with open(tmp_path / "back", "w+b") as file:
        file.write(b"before")
        client.download("large", file)
    assert (tmp_path / "back").read_bytes() == b"before" + data


def test_counting_imports_no_more_than_it_needs(cloud, gs_workspace, monkeypatch):
    program = (
        "import sys\n"
        "from pipeline.data.incoming import collected\n"
        "from pipeline.storage.factory import open_storage\n"
        "print(collected.count_up_to(open_storage(sys.argv[1]), 5))\n"
        "heavy = {'google.cloud.storage', 'google.api_core', 'grpc', 'aiohttp', 'tensorflow', 'numpy'}\n"
        "print(sorted(heavy.intersection(sys.modules)))\n"
    )
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", program, gs_workspace], capture_output=True, text=True)
    assert done.stdout == "0\n[]\n", done.stderr
    methods = [asked.method for asked in cloud.asked("storage")]
    assert methods == ["objects.download", "objects.list", "objects.list"]
