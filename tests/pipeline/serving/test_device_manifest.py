"""Documents for devices: what is accepted, and everything that is refused."""

import dataclasses
import datetime
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pipeline.serving import device_manifest
from pipeline.serving.device_manifest import (
    DocumentRefused,
    Manifest,
    Pointer,
    check_model,
    position,
    read_manifest,
    read_pointer,
    tag_for,
)

KEY, OTHER = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
MODEL = b"TFL3 of a test"
MANIFEST = Manifest(
    model="classification",
    tag="model-3",
    created="2026-11-22T12:04:05Z",
    file="model.tflite",
    bytes=len(MODEL),
    sha256="9a5d4abc0d0ed1ce9f2ec3bb0dc5a2bdf1bf1b6a5a8a8b1dbb3ff8e9a5fd7f70",
    labels=("cat", 'Ærø, \u2028 "quoted" and\n "signature": "x"'),
    input={"shape": [1, 32, 32, 3], "dtype": "float32", "range": [0, 1], "resize": "bilinear-antialias"},
    quantization="fp16",
    metrics={"accuracy": 0.1 + 0.2, "images": 40},
    escalation_threshold=1e-07,
    minimum_app_version="2.1",
)
POINTER = Pointer(
    model="classification",
    channel="stable",
    serial=7,
    issued="2026-11-22T12:04:05Z",
    expires="2027-02-20T12:04:05Z",
    tag="model-3",
    percent=10,
    previous="model-2",
)
NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)


def pem(key: ed25519.Ed25519PrivateKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def signed(document: Manifest | Pointer, key: ed25519.Ed25519PrivateKey = KEY, **changed: object) -> bytes:
    return device_manifest.sign(dataclasses.replace(document, **changed), key.sign)


def pointer(content: bytes, **options: object) -> Pointer:
    return read_pointer(content, [pem(KEY)], **{"model": "classification", "channel": "stable", "now": NOW} | options)


def manifest(content: bytes, **options: object) -> Manifest:
    return read_manifest(content, [pem(KEY)], **{"model": "classification", "tag": "model-3"} | options)


def test_what_was_signed_is_read():
    assert manifest(signed(MANIFEST)) == MANIFEST
    assert pointer(signed(POINTER)) == POINTER


def test_a_document_is_json_that_any_program_reads():
    found = json.loads(signed(MANIFEST))
    assert found.pop("kind") == "spanloop-device-manifest" and found.pop("format") == 1
    assert len(found.pop("signature")) == 88
    assert found == json.loads(json.dumps(dataclasses.asdict(MANIFEST)))


def test_a_document_altered_in_any_byte_is_refused():
    content = signed(POINTER)
    for place in range(len(content)):
        altered = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(DocumentRefused):
            pointer(altered)


@pytest.mark.parametrize(
    "altered",
    [
        lambda content: content.replace(b'"percent": 10', b'"percent": 99'),
        lambda content: content.replace(b',\n "signature"', b',\n "percent": 99,\n "signature"'),
        lambda content: content.removesuffix(b"}\n") + b', "percent": 99}\n',
        lambda content: content + b" ",
        lambda content: content[: len(content) // 2],
        lambda content: json.dumps(json.loads(content)).encode(),
        lambda content: json.dumps({**json.loads(content), "signature": None}).encode(),
        lambda content: b"",
        lambda content: b"<html>Sign in to this network</html>",
        lambda content: content.replace(b"{", b"{" + b" " * (5 << 20), 1),
    ],
)
def test_a_document_that_is_not_as_signed_is_refused(altered):
    with pytest.raises(DocumentRefused):
        pointer(altered(signed(POINTER)))


def test_a_document_without_a_signature_is_refused():
    fields = {"kind": Pointer.kind, "format": 1} | dataclasses.asdict(POINTER)
    with pytest.raises(DocumentRefused, match="no signature"):
        pointer(json.dumps(fields, indent=1).encode() + b"\n")


def test_only_a_pinned_key_is_accepted():
    with pytest.raises(DocumentRefused, match="another key"):
        pointer(signed(POINTER, OTHER))
    with pytest.raises(DocumentRefused, match="another key"):
        manifest(signed(MANIFEST, OTHER))
    pinned = {"model": "classification", "channel": "stable", "now": NOW}
    assert read_pointer(signed(POINTER, OTHER), [pem(KEY), pem(OTHER)], **pinned) == POINTER, "while a key is changed"
    with pytest.raises(DocumentRefused):
        read_pointer(signed(POINTER), [], **pinned)


def test_an_older_pointer_is_refused_and_the_same_one_is_not():
    assert pointer(signed(POINTER), last_serial=7) == POINTER
    with pytest.raises(DocumentRefused, match="serial is 7, older than 8"):
        pointer(signed(POINTER), last_serial=8)


def test_an_expired_pointer_is_refused():
    expiry = datetime.datetime(2027, 2, 20, 12, 4, 5, tzinfo=datetime.timezone.utc)
    assert pointer(signed(POINTER), now=expiry - datetime.timedelta(seconds=1)) == POINTER
    with pytest.raises(DocumentRefused, match="expired at 2027-02-20"):
        pointer(signed(POINTER), now=expiry)
    with pytest.raises(DocumentRefused, match="expired"):
        read_pointer(
            signed(POINTER, expires="2020-01-01T00:00:00Z"), [pem(KEY)], model="classification", channel="stable"
        )


def test_a_signed_document_in_the_place_of_another_is_refused():
    with pytest.raises(DocumentRefused, match="channel beta of classification, not stable"):
        pointer(signed(POINTER, channel="beta"))
    with pytest.raises(DocumentRefused, match="of pets"):
        pointer(signed(POINTER, model="pets"))
    with pytest.raises(DocumentRefused, match="spanloop-device-manifest"):
        pointer(signed(MANIFEST))
    with pytest.raises(DocumentRefused, match="spanloop-device-channel"):
        manifest(signed(POINTER))
    with pytest.raises(DocumentRefused, match="model-2"):
        manifest(signed(MANIFEST, tag="model-2"))


def test_a_later_format_is_refused_and_a_later_field_ignored(monkeypatch):
    with_field = dataclasses.make_dataclass("Later", [("later", int)], bases=(Pointer,), kw_only=True, frozen=True)
    later = with_field(**dataclasses.asdict(POINTER), later=5)
    assert pointer(device_manifest.sign(later, KEY.sign)) == POINTER
    monkeypatch.setattr(device_manifest, "FORMAT", 2)
    content = signed(POINTER)
    monkeypatch.undo()
    with pytest.raises(DocumentRefused, match="format 2"):
        pointer(content)


@pytest.mark.parametrize(
    "app, accepted", [("2.1", True), ("2.1.0", True), ("2.10", True), ("2.0.9", False), ("2", False)]
)
def test_a_model_for_later_apps_is_refused(app, accepted):
    if accepted:
        assert manifest(signed(MANIFEST), app_version=app) == MANIFEST
    else:
        with pytest.raises(DocumentRefused, match="from version 2.1 on"):
            manifest(signed(MANIFEST), app_version=app)


def test_a_file_that_is_not_the_one_described_is_refused():
    described = dataclasses.replace(MANIFEST, sha256=hashlib.sha256(MODEL).hexdigest())
    check_model(described, MODEL)
    for data in (MODEL[:-1], MODEL + b"x", b"X" + MODEL[1:], b""):
        with pytest.raises(DocumentRefused, match="model.tflite"):
            check_model(described, data)


def test_devices_get_a_release_by_their_share_and_keep_it_when_the_share_grows():
    devices = [f"device {number}" for number in range(4000)]
    first = None
    for percent in (0, 1, 10, 50, 100):
        staged = dataclasses.replace(POINTER, percent=percent)
        chosen = {device for device in devices if tag_for(staged, device) == "model-3"}
        assert all(tag_for(staged, device) == "model-2" for device in set(devices) - chosen)
        assert abs(len(chosen) / len(devices) - percent / 100) < 0.03
        assert first is None or first <= chosen
        first = chosen
    assert len(first) == len(devices)
    assert tag_for(dataclasses.replace(POINTER, percent=0, previous=None), "device") is None


def test_the_devices_that_are_first_differ_from_release_to_release():
    early = [device for device in map(str, range(1000)) if position(device, "model-3") < 10]
    assert 0 < sum(position(device, "model-4") < 10 for device in early) < len(early) / 2
