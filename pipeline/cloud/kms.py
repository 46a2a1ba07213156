"""Signatures by a key in Cloud KMS, which never leaves it.

Every answer is checked for damage in transit, as https://cloud.google.com/kms/docs/data-integrity-guidelines asks.
"""

import base64
import binascii
import functools
from typing import Any

from pipeline.cloud.rest import NoAnswer, Rest, default_rest
from pipeline.errors import CloudRefused

KMS = "https://cloudkms.googleapis.com/v1"
ED25519 = "EC_SIGN_ED25519"  # https://cloud.google.com/kms/docs/algorithms


class KmsKey:
    """An Ed25519 key: one version of a key, projects/PROJECT/locations/.../cryptoKeyVersions/NUMBER."""

    def __init__(self, name: str):
        self.name = name

    def public_pem(self) -> bytes:
        """Returns the public key as PEM (SubjectPublicKeyInfo). Raises CloudRefused.

        https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/getPublicKey
        """
        doing = f"Reading the public key of {self.name}"
        found = self._ask(doing, f"{self.name}/publicKey")
        if found.get("algorithm") != ED25519:
            raise CloudRefused(doing, f"it is a key for {found.get('algorithm')}, not for {ED25519}")
        pem = found["pem"].encode()
        self._check(doing, found, "pemCrc32c", pem)
        return pem

    def sign(self, message: bytes) -> bytes:
        """Returns the signature of a message, 64 bytes. Raises CloudRefused.

        https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/asymmetricSign
        """
        doing = f"Signing with {self.name}"
        body = {"data": base64.b64encode(message).decode(), "dataCrc32c": str(_crc32c(message))}
        found = self._ask(doing, f"{self.name}:asymmetricSign", body)
        try:
            signature = base64.b64decode(found["signature"], validate=True)
        except (KeyError, binascii.Error) as error:
            raise CloudRefused(doing, f"the answer has no signature ({error!r})") from None
        if not found.get("verifiedDataCrc32c"):
            raise CloudRefused(doing, "the message was damaged in transit. Retry")
        self._check(doing, found, "signatureCrc32c", signature)
        return signature

    def _ask(self, doing: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            return self._rest.get(f"{KMS}/{path}") if body is None else self._rest.post(f"{KMS}/{path}", body)
        except NoAnswer as refused:
            raise CloudRefused(doing, str(refused)) from refused

    @functools.cached_property
    def _rest(self) -> Rest:
        return default_rest()

    def _check(self, doing: str, found: dict[str, Any], field: str, data: bytes) -> None:
        if found.get("name") != self.name or str(found.get(field)) != str(_crc32c(data)):
            raise CloudRefused(doing, "the answer is of another key, or was damaged in transit. Retry")


def _crc32c(data: bytes) -> int:
    import google_crc32c

    return google_crc32c.value(data)
