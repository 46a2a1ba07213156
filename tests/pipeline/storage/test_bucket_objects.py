"""Small objects are read and written once, also after failures."""

import pytest

from pipeline.errors import ObjectNotFound
from pipeline.storage.bucket_client import Client
from pipeline.storage.bucket_objects import Objects


@pytest.fixture
def objects(cloud_environment, retry_waits) -> Objects:
    return Objects(Client(cloud_environment.bucket))


def test_a_written_object_is_read_with_its_generation(objects):
    written = objects.write("a/b", b"1", True)

    assert objects.read("a/b") == (b"1", written.generation)
    assert objects.write("a/b", b"2", True) is None
    assert objects.write("a/b", b"3", False).generation != written.generation
    assert objects.read("a/b")[0] == b"3"
    with pytest.raises(ObjectNotFound):
        objects.read("a/c")


@pytest.mark.parametrize("name", ["a//b", "a/../b", "a/\x07", "a/", "ä ?#%"])
def test_every_name_is_written_and_read(cloud, objects, name):
    assert objects.write(name, b"1", True)
    assert objects.write(name, b"2", True) is None
    assert objects.read(name)[0] == b"1"
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == [name]


@pytest.mark.parametrize("failure", ["429", "500", "503", "cut", "lose", "expire"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_transient_failure_leaves_one_result(cloud, objects, failure, times):
    times = 1 if failure == "expire" else times
    cloud.faults.add(service="storage", kind=failure, times=times)
    written = objects.write("a", b"1", True)
    assert written and str(cloud.gcs.find(f"gs://{cloud.bucket}/a").generation) == written.generation
    cloud.faults.add(service="storage", kind=failure, times=times)
    assert objects.write("a", b"2", True) is None
    cloud.faults.add(service="storage", kind=failure, times=times)
    assert objects.write("a", b"3", False)
    cloud.faults.add(service="storage", kind=failure, times=times)
    assert objects.read("a")[0] == b"3"


def test_a_large_object_is_written(cloud, objects):
    data = bytes(9 * 2**20)
    assert objects.write("a", data, True)
    assert cloud.gcs.read(f"gs://{cloud.bucket}/a") == data
