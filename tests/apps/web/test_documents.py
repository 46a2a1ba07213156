"""The page accepts the same signed documents as pipeline/serving/device_manifest.py, and refuses the same."""

import base64
import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.serving import device_manifest
from pipeline.serving.device_manifest import Manifest, Pointer
from tests.devices import INPUT

KEY = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
POINTER = Pointer("digits", "stable", 7, "2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z", "model-3", 100, "model-2")
MANIFEST = Manifest(
    model="digits",
    tag="model-3",
    created="2026-01-01T00:00:00Z",
    file="model.tflite",
    bytes=4,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    labels=("eins", "größer"),
    input=INPUT,
    quantization="fp16",
    metrics={"accuracy": 0.9, "images": 10},
    escalation_threshold=None,
    minimum_app_version="1.0",
)


def signed(document: Pointer | Manifest, key: Ed25519PrivateKey = KEY, **changes: object) -> bytes:
    return device_manifest.sign(dataclasses.replace(document, **changes), key.sign)


@pytest.fixture(params=["webcrypto", "javascript"])
def read(request, context, site, modules):
    """Runs a function of the page's documents.ts on a document; returns its result, or why it was refused."""
    site.replaced["/documents.js"] = modules("documents")
    tab = context.new_page()
    if request.param == "javascript":  # as in a browser whose WebCrypto has no Ed25519
        tab.add_init_script(
            """crypto.subtle.importKey = () => Promise.reject(new DOMException("no Ed25519", "NotSupportedError"))"""
        )
    tab.goto(site.url)

    def run(function: str, content: bytes, **expected: object) -> dict | str:
        return tab.evaluate(
            """async ([name, content, key, expected]) => {
              const documents = await import("/documents.js");
              const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
              return await documents[name](bytes, key, expected).catch((error) => {
                if (!(error instanceof documents.Refused)) throw error;
                return error.message;
              });
            }""",
            [function, base64.b64encode(content).decode(), PUBLIC, expected],
        )

    return run


def test_documents_are_accepted_and_refused_as_in_python(read):
    def pointer(content: bytes, **expected: object) -> dict | str:
        usual = {"model": "digits", "channel": "stable", "lastSerial": 7, "now": 1.8e12}
        return read("readPointer", content, **usual | expected)

    def manifest(content: bytes, **expected: object) -> dict | str:
        return read("readManifest", content, **{"model": "digits", "tag": "model-3", "appVersion": "1.0.0"} | expected)

    good = signed(POINTER)
    assert pointer(good)["tag"] == "model-3"
    assert manifest(signed(MANIFEST))["labels"] == ["eins", "größer"]
    other = Ed25519PrivateKey.generate()
    refused = {
        "altered": pointer(good.replace(b"model-3", b"model-4")),
        "other key": pointer(signed(POINTER, other)),
        "no signature": pointer(b"{}"),
        "empty": pointer(b""),
        "more behind it": pointer(good + b" "),
        "a manifest": pointer(signed(MANIFEST)),
        "older": pointer(good, lastSerial=8),
        "expired": pointer(good, now=5e12),
        "another channel": pointer(good, channel="beta"),
        "another task": pointer(good, model="cats"),
        "a tag that leads elsewhere": pointer(signed(POINTER, tag="../../other")),
        "another release": manifest(signed(MANIFEST), tag="model-2"),
        "a newer page needed": manifest(signed(MANIFEST, minimum_app_version="1.0.1")),
        "a file elsewhere": manifest(signed(MANIFEST, file="../model-1/model.tflite")),
        "another input": manifest(signed(MANIFEST, input=INPUT | {"range": [-1, 1]})),
    }
    assert {name: what for name, what in refused.items() if not isinstance(what, str)} == {}
    assert refused["altered"] == refused["other key"] == "it was altered, or signed with another key"


def test_a_device_has_the_same_place_in_a_rollout_as_in_python(context, site, modules):
    site.replaced["/documents.js"] = modules("documents")
    tab = context.new_page()
    tab.goto(site.url)
    devices = [f"device {number}" for number in range(20)]

    found = tab.evaluate(
        """async (devices) => {
          const { position } = await import("/documents.js");
          return await Promise.all(devices.map((device) => position(device, "model-3")));
        }""",
        devices,
    )

    assert found == pytest.approx([device_manifest.position(device, "model-3") for device in devices])
