"""A device model that distinguishes bright pictures from dark ones, its channel, and a server of another model."""

import dataclasses
import datetime
import hashlib
import pathlib
from collections.abc import Iterator

import pytest

from apps.client.channel import open_channel
from apps.client.device import OnDevice
from apps.client.installation import Installation, Update
from pipeline.device import description
from pipeline.device.description import Description
from pipeline.serving.device_manifest import Manifest, Pointer
from pipeline.serving.device_signing import Signer
from tests.apps.client.faulty import FaultyServer
from tests.devices import Key

THRESHOLD = 0.8


@pytest.fixture(scope="session")
def described(bright_or_dark) -> Description:
    return description.read(str(bright_or_dark))


@pytest.fixture
def on_device(bright_or_dark, described) -> OnDevice:
    return OnDevice(
        str(bright_or_dark / "tflite"),
        model="model-1",
        labels=described.labels,
        input=described.input.to_json(),
        threshold=THRESHOLD,
    )


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


class Published:
    """A channel in a folder, written by hand, and a client that follows it."""

    def __init__(self, root: pathlib.Path, model: bytes, described: Description):
        self.root, self.data = root / "channel", model
        self.key = Key(root / "device-key.pem")
        self._sign = Signer(self.key.file).sign
        now = datetime.datetime.now(datetime.timezone.utc)
        self._pointer = Pointer(
            model="classification",
            channel="stable",
            serial=1,
            issued=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            expires=f"{now + datetime.timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            tag="model-1",
            percent=100,
            previous=None,
        )
        self._manifest = Manifest(
            model="classification",
            tag="model-1",
            created=self._pointer.issued,
            file="model.tflite",
            bytes=len(model),
            sha256=hashlib.sha256(model).hexdigest(),
            labels=described.labels,
            input=described.input.to_json(),
            quantization="fp32",
            metrics={},
            escalation_threshold=THRESHOLD,
            minimum_app_version="",
        )
        self.client = Installation(str(root / "app"), [self.key.public], "classification")

    def put(self, name: str, data: bytes) -> None:
        path = self.root / "devices" / "classification" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def release(self, tag: str, model: bytes | None = None, **changes: object) -> None:
        """Publishes a model; `changes` are fields of its manifest."""
        data = self.data if model is None else model
        described = {"tag": tag, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changes}
        self.put(f"{tag}/model.tflite", data)
        self.put(f"{tag}/manifest.json", self._sign(dataclasses.replace(self._manifest, **described)))

    def point(self, tag: str, serial: int, **changes: object) -> None:
        """Points the channel to a release; `changes` are fields of the pointer."""
        pointer = dataclasses.replace(self._pointer, tag=tag, serial=serial, **changes)
        self.put("channels/stable.json", self._sign(pointer))

    def update(self) -> Update:
        return self.client.update(open_channel(str(self.root)))


@pytest.fixture
def published(tmp_path, bright_or_dark, described) -> Published:
    """A channel with model-1 for all devices."""
    made = Published(tmp_path, (bright_or_dark / "tflite").read_bytes(), described)
    made.release("model-1")
    made.point("model-1", 1)
    return made
