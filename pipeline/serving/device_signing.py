"""Signing for devices: DEVICE_SIGNING_KEY, an Ed25519 key in a file or in Cloud KMS, and its public half."""

import functools

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pipeline.cloud.kms import KmsKey
from pipeline.config import Config, is_kms_key
from pipeline.errors import SigningKeyUnusable
from pipeline.serving import device_manifest
from pipeline.serving.device_manifest import Manifest, Pointer


def trusted_key(config: Config) -> str:
    """Returns the public key that devices trust, PEM: DEVICE_PUBLIC_KEY, or else that of DEVICE_SIGNING_KEY.

    With the first, the private key is not read. Raises SigningKeyUnusable, and CloudRefused for a key in Cloud KMS.
    """
    if config.device_public_key:
        return read_public_key(config.device_public_key, "DEVICE_PUBLIC_KEY")
    return Signer(config.device_signing_key).public_pem


def read_public_key(path: str, option: str) -> str:
    """Returns the public Ed25519 key in a file that `option` names, PEM. Raises SigningKeyUnusable."""
    content = _read(path, option)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise SigningKeyUnusable(path, "it holds no public key, in PEM", option) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SigningKeyUnusable(path, "its key is not for Ed25519", option)
    return content.decode()


def _read(path: str, option: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SigningKeyUnusable(path, error.strerror or str(error), option) from None


class _FileKey:
    """A private key in a PEM file, as `openssl genpkey -algorithm ed25519` writes it."""

    def __init__(self, path: str):
        content = _read(path, "DEVICE_SIGNING_KEY")
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # without the cause, which may quote the key
            raise SigningKeyUnusable(path, "it holds no private key without a password, in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyUnusable(path, "its key is not for Ed25519")
        self.sign = key.sign
        self._public = key.public_key()

    def public_pem(self) -> bytes:
        return self._public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Signer:
    """Signs documents with the key `name`: a file's path, or the resource name of a key's version in Cloud KMS."""

    def __init__(self, name: str):
        self._name = name
        self._key = KmsKey(name) if is_kms_key(name) else _FileKey(name)

    @functools.cached_property
    def public_pem(self) -> str:
        """The public key, PEM: what apps pin. Raises CloudRefused."""
        return self._key.public_pem().decode()

    def sign(self, document: Manifest | Pointer) -> bytes:
        """Returns the signed document. Raises CloudRefused, and SigningKeyUnusable for what no device would accept."""
        return device_manifest.sign(document, self._signature)

    def _signature(self, message: bytes) -> bytes:
        public = load_pem_public_key(self.public_pem.encode())
        signature = self._key.sign(message)
        try:
            public.verify(signature, message)
        except InvalidSignature:
            raise SigningKeyUnusable(self._name, "its signature does not fit its public key") from None
        return signature
