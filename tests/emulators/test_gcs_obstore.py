"""obstore against the local Cloud Storage: the XML API."""

import asyncio
import os

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError
from obstore.store import GCSStore

MIB = 1 << 20
NAME = "a/ä b%2F&<x>.jpg"


@pytest.fixture
def cloud(cloud_environment):
    return cloud_environment


@pytest.fixture
def store(cloud):
    return GCSStore(cloud.bucket)


def test_an_object_is_written_and_read(cloud, store):
    written = obstore.put(store, NAME, b"0123456789", attributes={"Content-Type": "image/jpeg", "label": "cat"})
    got = obstore.get(store, NAME)
    assert bytes(got.bytes()) == b"0123456789"
    assert got.attributes["Content-Type"] == "image/jpeg" and got.attributes["label"] == "cat"
    assert bytes(obstore.get_range(store, NAME, start=2, end=5)) == b"234"
    head = obstore.head(store, NAME)
    assert (head["size"], head["e_tag"], head["version"]) == (10, written["e_tag"], written["version"])
    assert written["version"] == str(cloud.gcs.find(f"gs://{cloud.bucket}/{NAME}").generation)
    assert {asked.principal for asked in cloud.asked("storage")} == {cloud.account}
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "nothing")


def test_an_existing_object_is_not_created_again(cloud, store):
    first = obstore.put(store, NAME, b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, NAME, b"second", mode="create")
    second = obstore.put(store, NAME, b"second", mode={"e_tag": first["e_tag"], "version": first["version"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, NAME, b"third", mode={"e_tag": first["e_tag"], "version": first["version"]})
    assert bytes(obstore.get(store, NAME, options={"if_match": second["e_tag"]}).bytes()) == b"second"
    with pytest.raises(PreconditionError):
        obstore.get(store, NAME, options={"if_match": first["e_tag"]})
    with pytest.raises(obstore.exceptions.NotModifiedError):
        obstore.get(store, NAME, options={"if_none_match": second["e_tag"]})


def test_one_of_many_creators_of_an_object_succeeds(cloud, store):
    async def create(number):
        try:
            return await obstore.put_async(store, "one", b"%d" % number, mode="create") and number
        except AlreadyExistsError:
            return None

    async def all_at_once():
        return await asyncio.gather(*map(create, range(50)))

    winners = [number for number in asyncio.run(all_at_once()) if number is not None]
    assert len(winners) == 1 and cloud.gcs.read(f"gs://{cloud.bucket}/one") == b"%d" % winners[0]


def test_lists_come_in_pages_and_folders(cloud, store):
    for number in range(1001):
        cloud.gcs.put(f"gs://{cloud.bucket}/many/{number:04}", b"x")
    obstore.put(store, "many/sub/x", b"")
    assert len(obstore.list(store, "many").collect()) == 1002
    assert len(cloud.asked("storage", "xml.list")) == 2
    offset = obstore.list(store, "many", offset="many/0999").collect()
    assert [found["path"] for found in offset] == ["many/1000", "many/sub/x"]
    folders = obstore.list_with_delimiter(store, "many")
    assert folders["common_prefixes"] == ["many/sub"] and len(folders["objects"]) == 1001


def test_objects_are_copied_renamed_and_deleted(cloud, store):
    obstore.put(store, NAME, b"data")
    obstore.copy(store, NAME, "copy")
    with pytest.raises(AlreadyExistsError):
        obstore.copy(store, NAME, "copy", overwrite=False)
    obstore.rename(store, "copy", "renamed")
    obstore.delete(store, [NAME])
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == ["renamed"]


def test_a_large_object_is_sent_in_parts(cloud, store):
    data = os.urandom(12 * MIB)
    cloud.faults.add("storage", "xml.part", nth=2, kind="503")
    made = obstore.put(store, "large", data, use_multipart=True, chunk_size=5 * MIB)
    assert cloud.gcs.read(f"gs://{cloud.bucket}/large") == data
    assert obstore.head(store, "large")["e_tag"] == made["e_tag"]
    with pytest.raises(obstore.exceptions.GenericError, match="EntityTooSmall"):
        obstore.put(store, "small", data[: 3 * MIB], use_multipart=True, chunk_size=MIB)
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == ["large"]


@pytest.mark.parametrize("kind", ["503", "lose"])
def test_a_read_is_retried(cloud, store, kind):
    obstore.put(store, NAME, b"data")
    cloud.faults.add("storage", "xml.get", kind=kind)
    assert bytes(obstore.get(store, NAME).bytes()) == b"data"
    assert [asked.fault for asked in cloud.asked("storage", "xml.get")] == [kind, ""]


def test_a_denied_permission_is_enforced(cloud, store):
    cloud.gcs.deny("storage.objects.create", cloud.account)
    with pytest.raises(PermissionDeniedError, match="storage.objects.create"):
        obstore.put(store, NAME, b"data")
