"""Batch requests of moves and deletions."""

import pytest

from pipeline.errors import StorageError
from pipeline.storage import bucket_batch
from pipeline.storage.bucket_client import Client


@pytest.fixture
def client(cloud_environment, retry_waits) -> Client:
    return Client(cloud_environment.bucket)


@pytest.fixture
def written(cloud, client) -> dict[str, str]:
    """The generations of 250 objects, by their odd names."""
    made = {
        f"a/{number} ?&=#%+/ß": cloud.gcs.put(f"gs://{cloud.bucket}/a/{number} ?&=#%+/ß", b"1") for number in range(250)
    }
    return {name: str(found.generation) for name, found in made.items()}


def test_a_hundred_calls_make_one_request(cloud, client, written):
    statuses = list(
        bucket_batch.perform(client, (bucket_batch.move(client, *one, f"b{one[0]}") for one in written.items()))
    )

    assert statuses == [200] * 250
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == sorted(f"b{name}" for name in written)
    assert len(cloud.asked("storage", "batch")) == 3 and len(cloud.asked("storage", "objects.move")) == 250


def test_each_call_has_its_status_in_order(cloud, client, written):
    names = list(written)
    cloud.gcs.delete(f"gs://{cloud.bucket}/{names[0]}")
    cloud.gcs.put(f"gs://{cloud.bucket}/{names[1]}", b"overwritten")
    cloud.gcs.put(f"gs://{cloud.bucket}/b{names[2]}", b"in the way")
    calls = [bucket_batch.move(client, name, written[name], f"b{name}") for name in names[:4]]
    calls += [bucket_batch.delete(client, name, written[name]) for name in names[1:2] + names[4:5]]

    assert list(bucket_batch.perform(client, calls)) == [404, 412, 412, 200, 412, 204]
    assert cloud.gcs.read(f"gs://{cloud.bucket}/{names[1]}") == b"overwritten"
    assert cloud.gcs.read(f"gs://{cloud.bucket}/b{names[2]}") == b"in the way"


@pytest.mark.parametrize("failure", ["429", "503", "cut", "lose", "expire"])
@pytest.mark.parametrize("method", ["batch", "objects.move"])
def test_transient_failures_are_retried(cloud, client, written, method, failure):
    cloud.faults.add(service="storage", method=method, nth=2, kind=failure, times=1 if method == "batch" else 3)

    statuses = list(
        bucket_batch.perform(client, (bucket_batch.move(client, *one, f"b{one[0]}") for one in written.items()))
    )

    assert set(statuses) <= {200, 404}  # 404: it was done, but the answer was lost
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == sorted(f"b{name}" for name in written)


def test_a_lasting_refusal_is_named(cloud, client, written):
    cloud.gcs.deny("storage.objects.delete")
    name = next(iter(written))

    with pytest.raises(StorageError, match="storage.objects.delete.*roles/storage.objectUser"):
        list(bucket_batch.perform(client, [bucket_batch.delete(client, name, written[name])]))
