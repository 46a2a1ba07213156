"""Cloud KMS: key rings, keys for signatures and their versions, over REST.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions
"""

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import google_crc32c
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from google.cloud import kms_v1 as types
from google.protobuf import json_format
from grpc import StatusCode

from tests.emulators.policies import requested_version
from tests.emulators.services import Caller, Refused, Request, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

ED25519, P256 = "EC_SIGN_ED25519", "EC_SIGN_P256_SHA256"
_RING = "/v1/projects/{project}/locations/{location}/keyRings"
_KEY = f"{_RING}/{{ring}}/cryptoKeys"
_VERSION = f"{_KEY}/{{key}}/cryptoKeyVersions/{{version}}"


class Kms(Service):
    """Keys by resource name. `corrupt`: answers are damaged on their way, so that checksums do not match."""

    name = "cloudkms"
    hosts = ("cloudkms.googleapis.com",)
    scopes = (*Service.scopes, "https://www.googleapis.com/auth/cloudkms")

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._rings: set[str] = set()
        self._keys: dict[str, tuple[str, Any]] = {}  # {name of version 1: (algorithm, private key)}
        self.disabled: set[str] = set()  # names of versions
        self.corrupt = False

    def reset(self) -> None:
        self._rings.clear()
        self._keys.clear()
        self.disabled.clear()
        self.corrupt = False

    def add(self, ring: str, key: str, algorithm: str = ED25519) -> str:
        """Creates a key, with its ring; returns the name of its first version."""
        parent = f"projects/{self._cloud.project}/locations/{self._cloud.region}/keyRings/{ring}"
        self._rings.add(parent)
        return self._create(f"{parent}/cryptoKeys/{key}", algorithm)

    def rotate(self, version: str) -> None:
        """Replaces a version by another key, as if it had been made in another project."""
        self._keys[version] = (ED25519, ed25519.Ed25519PrivateKey.generate())

    def pem(self, version: str) -> str:
        """Returns the public key of a version."""
        public = self._keys[version][1].public_key()
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.PEM, kind).decode()

    def routes(self):
        key = f"{_KEY}/{{key}}"
        return [
            Route("POST", _RING, "CreateKeyRing", self.create_ring),
            Route("POST", _KEY, "CreateCryptoKey", self.create_key),
            Route("GET", f"{key}:getIamPolicy", "GetIamPolicy", self.policy),
            Route("POST", f"{key}:setIamPolicy", "SetIamPolicy", self.set_policy),
            Route("GET", f"{_RING}/{{ring}}", "GetKeyRing", self.get_ring),
            Route("GET", key, "GetCryptoKey", self.get_key),
            Route("POST", f"{key}:testIamPermissions", "TestIamPermissions", self.test),
            Route("GET", f"{_VERSION}/publicKey", "GetPublicKey", self.public_key),
            Route("POST", f"{_VERSION}:asymmetricSign", "AsymmetricSign", self.sign),
        ]

    def create_ring(self, request: Request, caller: Caller, project: str, location: str) -> dict[str, Any]:
        ring = request.parameters().get("keyRingId", "")
        name = f"projects/{project}/locations/{location}/keyRings/{ring}"
        self._demand(caller, project, f"projects/{project}", "cloudkms.keyRings.create")
        # https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings/create
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,63}", ring):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid key ring ID {ring!r}.")
        if name in self._rings:
            raise Refused(StatusCode.ALREADY_EXISTS, f"KeyRing {name} already exists.")
        self._rings.add(name)
        return {"name": name}

    def get_ring(self, request: Request, caller: Caller, project: str, location: str, ring: str) -> dict[str, Any]:
        name = f"projects/{project}/locations/{location}/keyRings/{ring}"
        self._demand(caller, project, f"projects/{project}", "cloudkms.keyRings.get")
        if name not in self._rings:
            raise Refused(StatusCode.NOT_FOUND, f"KeyRing {name} not found.")
        return {"name": name}

    def get_key(self, request: Request, caller: Caller, project: str, location: str, ring: str, key: str) -> dict:
        name = f"projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}"
        self._demand(caller, project, name, "cloudkms.cryptoKeys.get")
        if f"{name}/cryptoKeyVersions/1" not in self._keys:
            raise Refused(StatusCode.NOT_FOUND, f"CryptoKey {name} not found.")
        algorithm = self._keys[f"{name}/cryptoKeyVersions/1"][0]
        template = {"algorithm": algorithm, "protectionLevel": "SOFTWARE"}
        return {"name": name, "purpose": "ASYMMETRIC_SIGN", "versionTemplate": template}

    def create_key(self, request: Request, caller: Caller, project: str, location: str, ring: str) -> dict[str, Any]:
        parent = f"projects/{project}/locations/{location}/keyRings/{ring}"
        self._demand(caller, project, f"projects/{project}", "cloudkms.cryptoKeys.create")
        wanted = _parsed(request, types.CryptoKey)
        name = f"{parent}/cryptoKeys/{request.parameters().get('cryptoKeyId', '')}"
        if parent not in self._rings:
            raise Refused(StatusCode.NOT_FOUND, f"KeyRing {parent} not found.")
        if f"{name}/cryptoKeyVersions/1" in self._keys:
            raise Refused(StatusCode.ALREADY_EXISTS, f"CryptoKey {name} already exists.")
        algorithm = wanted.version_template.algorithm.name
        if wanted.purpose.name != "ASYMMETRIC_SIGN" or algorithm not in (ED25519, P256):
            message = f"Algorithm {algorithm} is not valid for a key of purpose {wanted.purpose.name}."
            raise Refused(StatusCode.INVALID_ARGUMENT, message)
        self._create(name, algorithm)
        return {"name": name, "purpose": "ASYMMETRIC_SIGN", "versionTemplate": {"algorithm": algorithm}}

    def policy(
        self, request: Request, caller: Caller, project: str, location: str, ring: str, key: str
    ) -> dict[str, Any]:
        name = f"projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}"
        self._demand(caller, project, name, "cloudkms.cryptoKeys.getIamPolicy")
        if f"{name}/cryptoKeyVersions/1" not in self._keys:
            raise Refused(StatusCode.NOT_FOUND, f"CryptoKey {name} not found.")
        return self._cloud.policies.policy(name, requested_version(request))

    def set_policy(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name = "projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}".format(**parts)
        self._demand(caller, parts["project"], name, "cloudkms.cryptoKeys.setIamPolicy")
        return self._cloud.policies.replace(name, request.json().get("policy"))

    def test(self, request: Request, caller: Caller, project: str, location: str, ring: str, key: str) -> dict:
        asked = request.json()
        if set(asked) != {"permissions"}:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Unknown or missing fields: {sorted(asked)}")
        name = f"projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}"
        allowed = self._cloud.policies.allowed(caller.principal, name, asked["permissions"])
        return {"permissions": allowed} if allowed else {}

    def public_key(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        name, (algorithm, _) = self._version(caller, parts, "cloudkms.cryptoKeyVersions.viewPublicKey")
        pem = self.pem(name)
        crc32c = str(google_crc32c.value(pem.encode()))
        pem = pem.replace("A", "B", 1) if self.corrupt else pem
        return {"pem": pem, "pemCrc32c": crc32c, "algorithm": algorithm, "name": name, "protectionLevel": "SOFTWARE"}

    def sign(self, request: Request, caller: Caller, **parts: str) -> dict[str, Any]:
        """Signs `data` with Ed25519, which takes no digest; with other algorithms a digest of their length."""
        name, (algorithm, key) = self._version(caller, parts, "cloudkms.cryptoKeyVersions.useToSign")
        asked = _parsed(request, types.AsymmetricSignRequest)
        digest = types.Digest.pb(asked.digest).WhichOneof("digest")
        if bool(asked.data) == bool(digest):
            raise Refused(StatusCode.INVALID_ARGUMENT, "Exactly one of data and digest must be supplied.")
        if (algorithm == ED25519) == bool(digest):
            # "EdDSA on the Curve25519 in pure mode (taking data as input)": https://cloud.google.com/kms/docs/algorithms
            wanted = "data" if digest else "a digest"
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Keys with the algorithm {algorithm} require {wanted}.")
        signed = asked.data or getattr(asked.digest, digest)
        if digest and (digest != "sha256" or len(signed) != hashlib.sha256().digest_size):
            # https://github.com/GoogleCloudPlatform/kms-integrations/issues/64
            message = f"provided digest has incorrect size (got {len(signed)}, want {hashlib.sha256().digest_size})"
            raise Refused(StatusCode.INVALID_ARGUMENT, message)
        field = "digest_crc32c" if digest else "data_crc32c"
        given = getattr(types.AsymmetricSignRequest.pb(asked), field)
        has = types.AsymmetricSignRequest.pb(asked).HasField(field)
        if has and given.value != google_crc32c.value(signed):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"The checksum in field {field} did not match the data.")
        signature = key.sign(signed) if not digest else key.sign(signed, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        crc32c = str(google_crc32c.value(signature))
        signature = signature[::-1] if self.corrupt else signature
        return {
            "signature": base64.b64encode(signature).decode(),
            "signatureCrc32c": crc32c,
            "name": name,
            "protectionLevel": "SOFTWARE",
            **({"verifiedDigestCrc32c" if digest else "verifiedDataCrc32c": True} if has else {}),
        }

    def _create(self, name: str, algorithm: str) -> str:
        key = ed25519.Ed25519PrivateKey.generate() if algorithm == ED25519 else ec.generate_private_key(ec.SECP256R1())
        version = f"{name}/cryptoKeyVersions/1"
        self._keys[version] = (algorithm, key)
        return version

    def _version(self, caller: Caller, parts: dict[str, str], permission: str) -> tuple[str, tuple[str, Any]]:
        key = "projects/{project}/locations/{location}/keyRings/{ring}/cryptoKeys/{key}".format(**parts)
        name = f"{key}/cryptoKeyVersions/{parts['version']}"
        self._demand(caller, parts["project"], key, permission)
        if name not in self._keys:
            raise Refused(StatusCode.NOT_FOUND, f"CryptoKeyVersion {name} not found.")
        if name in self.disabled:
            message = f"{name} is not enabled, current state is: DISABLED."
            raise Refused(StatusCode.FAILED_PRECONDITION, message)
        return name, self._keys[name]

    def _demand(self, caller: Caller, project: str, resource: str, permission: str) -> None:
        own = project == self._cloud.project
        self._cloud.policies.demand(caller.principal, resource if own else "another project", permission)


def _parsed(request: Request, kind: type) -> Any:
    """Parses JSON strictly: an unknown field and a wrong type are refused, as by the real service."""
    made = kind()
    try:
        json_format.ParseDict(request.json(), kind.pb(made), ignore_unknown_fields=False)
    except json_format.ParseError as error:
        raise Refused(StatusCode.INVALID_ARGUMENT, f"Invalid JSON payload received. {error}") from None
    return made
