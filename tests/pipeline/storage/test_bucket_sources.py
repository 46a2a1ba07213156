"""Objects are read concurrently and yielded in order, within the limit of memory."""

import gzip
import threading
import time

import pytest

from pipeline.storage import bucket_sources
from pipeline.storage.bucket_client import Client
from pipeline.storage.bucket_objects import Objects
from pipeline.storage.bucket_sources import Wanted, each_in_order, read_all
from pipeline.storage.factory import open_storage
from tests.emulators.gcs.objects import Content

MOST = 10_000  # bytes of an object


@pytest.fixture
def wanted(cloud_environment) -> list[Wanted]:
    """400 objects of 100 bytes; every tenth is not read."""
    names = [f"a/{number:03d}" for number in range(400)]
    for name in names:
        cloud_environment.gcs.put(f"gs://{cloud_environment.bucket}/{name}", name.encode().ljust(100))
    return [Wanted(name, name, "1", 100, "" if number % 10 else "no image") for number, name in enumerate(names)]


@pytest.fixture
def objects(cloud_environment) -> Objects:
    return Objects(Client(cloud_environment.bucket))


def test_objects_come_in_order_without_those_that_are_gone(cloud, objects, wanted):
    for name in ("a/003", "a/377"):
        cloud.gcs.delete(f"gs://{cloud.bucket}/{name}")

    found = list(read_all(objects, wanted, MOST))

    assert [source.name for source in found] == [f"a/{n:03d}" for n in range(400) if n not in (3, 377)]
    assert all(source.data.decode().strip() == ("" if source.problem else source.name) for source in found)
    assert sum(bool(source.problem) for source in found) == 40


def test_images_that_are_stored_as_gzip_are_read_as_they_were(cloud_environment, gs_workspace):
    """`gsutil cp -z` stores them so; what they unpack to is limited, too."""
    cloud = cloud_environment
    image, zeros = b"\x89PNG" + bytes(range(256)), bytes(MOST + 1)
    for name, data in (("packed.png", image), ("packed-bomb.png", zeros)):
        content = Content.of(gzip.compress(data), "image/png", {"contentEncoding": "gzip"})
        folder = gs_workspace.removeprefix(f"gs://{cloud.bucket}/")
        cloud.gcs.store.put(cloud.bucket, f"{folder}/cat/{name}", content)
    cloud.gcs.put(f"{gs_workspace}/cat/plain.png", image)
    storage = open_storage(gs_workspace)

    found = {source.name: source for source in storage.sources("", max_bytes=MOST)}

    assert found["cat/packed.png"].data == found["cat/plain.png"].data == image
    assert not found["cat/packed.png"].problem
    assert found["cat/packed-bomb.png"].data == b"" and "than" in found["cat/packed-bomb.png"].problem


def test_reading_ahead_stays_within_its_limit(cloud, objects, wanted, monkeypatch):
    monkeypatch.setattr(bucket_sources, "AHEAD_BYTES", 10_000)
    found = read_all(objects, wanted, MOST)
    for _ in range(4):
        next(found)
    while len(cloud.asked("storage", "xml.get")) < 80:
        time.sleep(0.01)
    time.sleep(0.1)  # in which there would be more

    assert len(cloud.asked("storage", "xml.get")) <= 100
    assert len(list(found)) == 396


def test_stopping_early_leaves_no_request_running(cloud, objects, wanted):
    before = set(threading.enumerate())
    found = read_all(objects, wanted, MOST)
    next(found)
    began = {thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name} - before
    found.close()
    for thread in began:
        thread.join(60)
    assert began and not any(thread.is_alive() for thread in began)


def test_calls_run_concurrently_and_results_come_in_order():
    together = threading.Barrier(5)

    def call(item):
        together.wait(60)
        return item * 2

    assert list(each_in_order(call, range(20), 5)) == [item * 2 for item in range(20)]


def test_an_error_is_raised_in_place_of_its_item():
    found = each_in_order(lambda item: 1 // item, [2, 1, 0, 1], 2)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)
