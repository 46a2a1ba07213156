"""The lock in a bucket, also after its holder was killed."""

import contextlib
import dataclasses
import threading
import time

import pytest

from pipeline import retry
from pipeline.storage import bucket_lease
from pipeline.storage.bucket_client import Client
from pipeline.storage.bucket_lease import Lease

NAME = ".counting.lock"


@pytest.fixture
def client(cloud_environment) -> Client:
    return Client(cloud_environment.bucket)


def lease(client: Client) -> Lease:
    return Lease(client, NAME, "counting", "the place")


def test_the_second_process_waits_for_the_first_and_logs_it(client, caplog):
    order = []

    def second():
        with lease(client):
            order.append("second")

    with lease(client):
        thread = threading.Thread(target=second)
        thread.start()
        while not caplog.records:
            thread.join(0.01)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]
    assert caplog.messages == ["Another process is counting in the place: waiting until it is done."]
    assert client.about(NAME) is None


def test_the_lease_of_a_killed_process_expires(client, monkeypatch):
    monkeypatch.setattr(bucket_lease, "SECONDS", 1)
    began = time.monotonic()
    client.write(NAME, b"of a process that was killed")

    with lease(client):
        # One of the service's times is in seconds, the other one in milliseconds.
        assert time.monotonic() - began > 0.9


def test_a_lease_is_renewed_while_its_process_lives(client, monkeypatch):
    monkeypatch.setattr(bucket_lease, "SECONDS", 0.3)
    with lease(client):
        first = client.about(NAME)["generation"]
        while client.about(NAME)["generation"] == first:
            time.sleep(0.02)
    assert client.about(NAME) is None


def test_a_process_that_lost_its_lease_logs_it_and_leaves_it(client, monkeypatch, caplog):
    monkeypatch.setattr(bucket_lease, "SECONDS", 0.1)
    with lease(client):
        client.write(NAME, b"of another process", None)
        while not caplog.records:
            time.sleep(0.01)
    assert "Another process is also counting in the place" in caplog.text
    assert client.read(NAME)[0] == b"of another process"


def test_a_renewal_whose_answer_is_lost_is_recognized(cloud, client, monkeypatch, caplog):
    monkeypatch.setattr(bucket_lease, "SECONDS", 0.2)
    monkeypatch.setattr(retry, "STORAGE", dataclasses.replace(retry.STORAGE, attempts=1))
    with lease(client):
        first = client.about(NAME)["generation"]
        cloud.faults.add(service="storage", method="objects.insert", kind="lose")
        while "was not renewed" not in caplog.text or client.about(NAME)["generation"] == first:
            time.sleep(0.02)
        time.sleep(0.2)
    assert "also counting" not in caplog.text
    assert client.about(NAME) is None


def test_an_error_releases_the_lease(client):
    with contextlib.suppress(KeyboardInterrupt), lease(client):
        raise KeyboardInterrupt
    assert client.about(NAME) is None
