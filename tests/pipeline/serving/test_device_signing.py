"""Keys that sign for devices, in files and in Cloud KMS."""

import pathlib
import subprocess

import pytest

from pipeline.errors import CloudRefused, SigningKeyUnusable
from pipeline.serving.device_manifest import Pointer, read_pointer
from pipeline.serving.device_signing import Signer
from tests.documentation import commands, paste

POINTER = Pointer("classification", "beta", 1, "2026-11-22T12:04:05Z", "2999-01-01T00:00:00Z", "model-1", 100, None)


def openssl(path: pathlib.Path, *arguments: str) -> str:
    """Makes a key as docs/devices.md does; returns its name."""
    subprocess.run(["openssl", "genpkey", "-out", path, *arguments], check=True, capture_output=True)
    return str(path)


@pytest.fixture(params=["file", "KMS"])
def key(request, tmp_path) -> str:
    if request.param == "file":
        return openssl(tmp_path / "key.pem", "-algorithm", "ed25519")
    return request.getfixturevalue("cloud_environment").kms.add("spanloop", "device-models")


def test_a_device_with_the_public_key_accepts_what_was_signed(key):
    signer = Signer(key)
    content = signer.sign(POINTER)
    assert read_pointer(content, [signer.public_pem], model="classification", channel="beta") == POINTER


def test_the_commands_of_the_pages_make_a_key_and_its_public_key(tmp_path):
    (script,) = commands("docs/devices.md#make-a-key")
    paste(script, tmp_path)
    assert Signer(str(tmp_path / "device-key.pem")).public_pem == (tmp_path / "device-public-key.pem").read_text()
    assert (tmp_path / "device-key.pem").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_key_for_ed25519_is_refused_without_being_quoted(tmp_path):
    with pytest.raises(SigningKeyUnusable, match="No such file"):
        Signer(str(tmp_path / "absent.pem"))
    (tmp_path / "text").write_text("secret text")
    with pytest.raises(SigningKeyUnusable, match="no private key") as error:
        Signer(str(tmp_path / "text"))
    assert "secret text" not in str(error.value) and error.value.__cause__ is None
    with pytest.raises(SigningKeyUnusable, match="no private key without a password"):
        Signer(openssl(tmp_path / "locked", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"))
    with pytest.raises(SigningKeyUnusable, match="not for Ed25519"):
        Signer(openssl(tmp_path / "other", "-algorithm", "ed448"))


def test_a_key_in_kms_signs_nothing_before_its_public_key_is_seen_to_fit(cloud_environment):
    key = cloud_environment.kms.add("spanloop", "device-models")
    signer = Signer(key)
    assert signer.public_pem == cloud_environment.kms.pem(key)
    cloud_environment.kms.rotate(key)
    with pytest.raises(SigningKeyUnusable, match="does not fit its public key"):
        signer.sign(POINTER)


def test_refusals_of_kms_name_the_key(cloud_environment):
    kms = cloud_environment.kms
    other = kms.add("spanloop", "p256", "EC_SIGN_P256_SHA256")
    with pytest.raises(CloudRefused, match="EC_SIGN_P256_SHA256, not for EC_SIGN_ED25519"):
        Signer(other).sign(POINTER)
    key = kms.add("spanloop", "device-models")
    cloud_environment.policies.clear()
    with pytest.raises(
        CloudRefused, match=f"{key} failed: Permission 'cloudkms.cryptoKeyVersions.viewPublicKey' denied"
    ):
        Signer(key).sign(POINTER)
