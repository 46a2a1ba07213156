"""Keys and signatures, asked for by Google's own client and by plain REST."""

import hashlib

import google.auth
import google.auth.transport.requests
import google_crc32c
import pytest
from cryptography.hazmat.primitives import serialization
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, NotFound
from google.cloud import kms_v1


@pytest.fixture
def client(cloud_environment):
    return kms_v1.KeyManagementServiceClient(transport="rest")


@pytest.fixture
def version(cloud):
    return cloud.kms.add("spanloop", "device-models")


def test_a_key_is_created_and_signs(client, cloud):
    parent = f"projects/{cloud.project}/locations/{cloud.region}"
    ring = client.create_key_ring(parent=parent, key_ring_id="spanloop", key_ring={})
    template = {"algorithm": "EC_SIGN_ED25519"}
    wanted = {"purpose": "ASYMMETRIC_SIGN", "version_template": template}
    key = client.create_crypto_key(parent=ring.name, crypto_key_id="device-models", crypto_key=wanted)

    name = f"{key.name}/cryptoKeyVersions/1"
    public = client.get_public_key(name=name)
    signed = client.asymmetric_sign(request={"name": name, "data": b"a message", "data_crc32c": crc32c(b"a message")})

    assert (public.name, public.algorithm.name) == (name, "EC_SIGN_ED25519")
    assert public.pem_crc32c == crc32c(public.pem.encode())
    assert signed.verified_data_crc32c and signed.signature_crc32c == crc32c(signed.signature)
    serialization.load_pem_public_key(public.pem.encode()).verify(signed.signature, b"a message")
    with pytest.raises(Conflict):
        client.create_crypto_key(parent=ring.name, crypto_key_id="device-models", crypto_key=wanted)
    with pytest.raises(Conflict):
        client.create_key_ring(parent=parent, key_ring_id="spanloop", key_ring={})


def crc32c(data: bytes) -> int:
    return google_crc32c.value(data)


def test_ed25519_takes_data_and_other_algorithms_a_digest_of_their_length(client, cloud, version):
    digest = hashlib.sha256(b"a message").digest()
    other = cloud.kms.add("spanloop", "p256", "EC_SIGN_P256_SHA256")
    refused = [
        {"name": version, "digest": {"sha256": digest}},
        {"name": version, "digest": {"sha256": digest}, "data": b"a message"},
        {"name": version},
        {"name": version, "data": b"a message", "data_crc32c": 1},
        {"name": other, "data": b"a message"},
        {"name": other, "digest": {"sha256": digest[:20]}},
    ]
    for request in refused:
        with pytest.raises(BadRequest):
            client.asymmetric_sign(request=request)
    assert client.asymmetric_sign(request={"name": other, "digest": {"sha256": digest}}).signature
    assert not client.asymmetric_sign(request={"name": version, "data": b"a message"}).verified_data_crc32c


def test_what_does_not_exist_is_disabled_or_forbidden_is_refused(client, cloud, version):
    with pytest.raises(NotFound):
        client.get_public_key(name=version.replace("Versions/1", "Versions/2"))
    cloud.kms.disabled.add(version)
    with pytest.raises(BadRequest, match="DISABLED"):
        client.asymmetric_sign(request={"name": version, "data": b"a message"})
    cloud.kms.disabled.clear()
    cloud.policies.clear()
    with pytest.raises(Forbidden, match="useToSign"):
        client.asymmetric_sign(request={"name": version, "data": b"a message"})
    with pytest.raises(Forbidden, match="viewPublicKey"):
        client.get_public_key(name=version)
    cloud.policies.grant(version.partition("/cryptoKeyVersions")[0], "roles/cloudkms.signerVerifier", cloud.account)
    assert client.get_public_key(name=version).pem == cloud.kms.pem(version)


def test_json_with_an_unknown_field_is_refused(cloud_environment, version):
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session = google.auth.transport.requests.AuthorizedSession(credentials)
    url = f"https://cloudkms.googleapis.com/v1/{version}:asymmetricSign"
    for body in ({"date": "YQ=="}, {"data": "?"}, {"data": 5}):
        response = session.post(url, json=body)
        assert response.status_code == 400 and response.json()["error"]["status"] == "INVALID_ARGUMENT"
