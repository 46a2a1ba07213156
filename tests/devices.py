"""Releases with models for devices, and an app that follows the channels with a pinned key."""

import copy
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.config import Config
from pipeline.outcomes import Escalation, Metrics
from pipeline.releases.factory import open_releases, releases_of
from pipeline.releases.record import DeviceModel, Release
from pipeline.serving import canary, device_channel
from pipeline.serving.device_channel import DeviceChannel
from pipeline.serving.device_manifest import Manifest, Pointer, check_model, read_manifest, read_pointer, tag_for

if TYPE_CHECKING:
    from tests.conftest import Workspace

INPUT = {
    "shape": [1, 32, 32, 3],
    "dtype": "float32",
    "range": [0, 1],
    "resize": "bilinear-antialias",
    "background": [255, 255, 255],
}


class Key:
    """A new key pair: the file that signs, and the text that apps pin."""

    def __init__(self, path: pathlib.Path):
        private = Ed25519PrivateKey.generate()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private.private_bytes(*form))
        self.file = str(path)
        public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = private.public_key().public_bytes(*public).decode()


class Devices:
    """A workspace that is also the channel, and its app. `settings` are those of a publisher."""

    def __init__(self, workspace: "Workspace", folder: pathlib.Path, **settings: Any):
        self.workspace = workspace
        self.key = Key(folder / "device-key.pem")
        self.config = Config(
            **{
                "workspace": workspace.address,
                "device_channel": workspace.address,
                "device_signing_key": self.key.file,
                **settings,
            }
        )
        self._folder = folder
        self.serials: dict[str, int] = {}  # the last one that the app has accepted, by channel

    def settings(self, **changes: Any) -> Config:
        return dataclasses.replace(self.config, **changes)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of a command."""
        return {
            "WORKSPACE": self.config.workspace,
            "DEVICE_CHANNEL": self.config.device_channel,
            "DEVICE_SIGNING_KEY": self.config.device_signing_key,
        }

    def release(self, number: int = 1, model: str | None = None, device: bool = True, data: bytes = b"") -> Release:
        """Publishes a release whose device model is `b"TFL3 NUMBER"` or `data`, or one without.

        `model` is a SavedModel.
        """
        if model is None:
            saved = self._folder / "saved model"
            saved.mkdir(exist_ok=True)
            (saved / "saved_model.pb").write_bytes(b"\x08\x01")  # its version, no graph
            model = str(saved)
        data = data or b"TFL3 %d" % number
        (self._folder / "tflite").write_bytes(data)
        described = DeviceModel(
            file="model.tflite",
            bytes=len(data),
            labels=("cat", "dog"),
            input=INPUT,
            quantization="fp16",
            metrics=Metrics(accuracy=0.85, images=40),
            agreement=0.9,
            escalation=Escalation(threshold=0.6, escalated=0.25, accuracy=0.88),
        )
        return open_releases(self.config.releases).publish(
            model,
            identity=f"{number}",
            commit="c0ffee",
            modules_digest="a" * 64,
            spans=(1,),
            labels=("cat", "dog"),
            metrics=Metrics(accuracy=0.9, images=40),
            previous=None,
            **({"device": described, "device_file": str(self._folder / "tflite")} if device else {}),
        )

    def read(self, name: str) -> bytes:
        return self.workspace.read(f"devices/classification/{name}")

    def pointer(self, channel: str = "stable", key: str = "") -> Pointer:
        """The pointer, as the app accepts it. Raises DocumentRefused."""
        content = self.read(f"channels/{channel}.json")
        last = self.serials.get(channel, 0)
        accepted = read_pointer(
            content, [key or self.key.public], model="classification", channel=channel, last_serial=last
        )
        self.serials[channel] = accepted.serial
        return accepted

    def manifest(self, tag: str) -> Manifest:
        return read_manifest(self.read(f"{tag}/manifest.json"), [self.key.public], model="classification", tag=tag)

    def model(self, channel: str = "stable", device: str = "a device") -> bytes | None:
        """What a device downloads, checked; None: it keeps what it has."""
        tag = tag_for(self.pointer(channel), device)
        if tag is None:
            return None
        data = self.read(f"{tag}/model.tflite")
        check_model(self.manifest(tag), data)
        return data

    def shares(self, channel: str, devices: int = 200) -> dict[bytes | None, int]:
        """How many of some devices download which model."""
        pointer, found = self.pointer(channel), {}
        for number in range(devices):
            tag = tag_for(pointer, f"device {number}")
            data = tag and self.read(f"{tag}/model.tflite")
            found[data] = found.get(data, 0) + 1
        return found

    def copied(self, workspace: "Workspace") -> "Devices":
        """The same app, and a publisher with the same key, in a copy of the workspace."""
        made = copy.copy(self)
        made.workspace, made.serials = workspace, dict(self.serials)
        made.config = configured(workspace.address, self.key.file)
        return made


def configured(workspace: str, key: str) -> Config:
    return Config(workspace=workspace, device_channel=workspace, device_signing_key=key)


def change(what: str, config: Config) -> None:
    """Publishes model-2, or rolls back."""
    if what == "publish":
        device_channel.publish(config, releases_of(config).get("model-2"))
    else:
        DeviceChannel(config).reach(canary.roll_back)
