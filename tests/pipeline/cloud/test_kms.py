"""Signatures by a key in Cloud KMS, and answers that were damaged on their way."""

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipeline.cloud.kms import KmsKey
from pipeline.errors import CloudRefused, NoCredentials


@pytest.fixture
def key(cloud_environment) -> KmsKey:
    return KmsKey(cloud_environment.kms.add("spanloop", "device-models"))


def test_a_message_is_signed_whole_and_with_its_checksum(key, cloud):
    load_pem_public_key(key.public_pem()).verify(key.sign(b"a message"), b"a message")
    (asked,) = cloud.asked(method="AsymmetricSign")
    assert asked.target.endswith(f"{key.name}:asymmetricSign") and b"dataCrc32c" in asked.body


@pytest.mark.parametrize("kind", ["503", "lose"])
def test_each_call_may_fail_once(key, cloud, retry_waits, kind):
    for method in ("AsymmetricSign", "GetPublicKey"):
        cloud.faults.add("cloudkms", method, kind=kind)
    load_pem_public_key(key.public_pem()).verify(key.sign(b"a message"), b"a message")
    assert len(retry_waits) == 2


def test_a_damaged_answer_is_refused(key, cloud):
    cloud.kms.corrupt = True
    with pytest.raises(CloudRefused, match="damaged in transit"):
        key.sign(b"a message")
    with pytest.raises(CloudRefused, match="damaged in transit"):
        key.public_pem()


def test_a_disabled_key_is_named(key, cloud):
    cloud.kms.disabled.add(key.name)
    with pytest.raises(CloudRefused, match="Signing with projects/.* failed: .*DISABLED"):
        key.sign(b"a message")


def test_without_credentials_the_next_step_is_named(key, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(NoCredentials, match="nowhere.json.*gcloud auth application-default login"):
        key.sign(b"a message")
