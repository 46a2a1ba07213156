"""The device model that a client has installed, and how it follows a channel: with every check of docs/devices.md.

    FOLDER/state.json                          {"device", "serial", "tag"}: its random text, the last pointer, its model
    FOLDER/<tag>/{model.tflite,manifest.json}  the model as it was published

A check that fails changes nothing: the client keeps the model that it has.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from apps.client.channel import Read, Unreachable
from apps.client.device import OnDevice
from pipeline.errors import SpanloopError
from pipeline.serving.device_manifest import (
    LARGEST_DOCUMENT,
    DocumentRefused,
    Manifest,
    check_model,
    read_manifest,
    read_pointer,
    tag_for,
)

LARGEST_MODEL = 512 << 20  # bytes that a client downloads at most
STATE, MODEL, MANIFEST = "state.json", "model.tflite", "manifest.json"
APP_VERSION = "1.0.0"  # of this client, beside a manifest's minimum_app_version


class NothingInstalled(SpanloopError):
    """A client has no device model, and cannot get one."""

    def __init__(self, place: str, why: str):
        self.place, self.why = place, why
        super().__init__(f"No device model could be installed from {place}: {why}. See docs/devices.md.")


@dataclass(frozen=True)
class Update:
    """What a look at the channel came to."""

    tag: str | None  # of the model that is installed now
    changed: bool = False
    kept: str = ""  # why the client keeps what it has; "" where it has what the channel says


@dataclass(frozen=True)
class _State:
    device: str  # random text, by which this device is among the first or last of a rollout
    serial: int = 0  # of the last pointer that was accepted
    tag: str | None = None  # of the model


class Installation:
    """The model of one task in a folder. `keys` are the public keys, PEM, that the client accepts."""

    def __init__(self, folder: str, keys: Collection[str], task: str, channel: str = "stable"):
        self._folder, self._keys, self._task, self._channel = folder, list(keys), task, channel

    def update(self, read: Read) -> Update:
        """Installs the model that the channel has for this device, unless it is there. Raises nothing of its checks."""
        with self._exclusive():
            state = self._state()
            try:
                serial, tag = self._wanted(read, state)
                if tag is None or tag == state.tag and self._is_whole(tag):
                    self._write(dataclasses.replace(state, serial=serial))
                    return Update(state.tag)
                self._download(read, tag)
            except (DocumentRefused, Unreachable) as refused:
                return Update(state.tag, kept=str(refused))
            self._write(_State(state.device, serial, tag))
            self._remove_others(tag)
        return Update(tag, changed=True)

    def open(self) -> OnDevice | None:
        """Returns the installed model, None before the first. Raises DocumentRefused where its files were altered."""
        with self._exclusive():
            tag = self._state().tag
            return self._open(tag) if tag else None

    def _wanted(self, read: Read, state: _State) -> tuple[int, str | None]:
        """Returns the serial of the channel's pointer and the release that this device is to have."""
        content = read(f"devices/{self._task}/channels/{self._channel}.json", LARGEST_DOCUMENT)
        pointer = read_pointer(content, self._keys, model=self._task, channel=self._channel, last_serial=state.serial)
        return pointer.serial, tag_for(pointer, state.device)

    def _download(self, read: Read, tag: str) -> None:
        """Puts a release's model and manifest into their folder when all of their checks pass, and it loads."""
        place = f"devices/{self._task}/{tag}"
        content = read(f"{place}/{MANIFEST}", LARGEST_DOCUMENT)
        manifest = self._manifest(content, tag)
        data = read(f"{place}/{MODEL}", min(manifest.bytes, LARGEST_MODEL))
        check_model(manifest, data)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as folder:
            new = os.path.join(folder, tag)
            os.mkdir(new)
            for name, written in ((MANIFEST, content), (MODEL, data)):
                with open(os.path.join(new, name), "wb") as file:
                    file.write(written)
            _loaded(os.path.join(new, MODEL), manifest)
            shutil.rmtree(self._place(tag), ignore_errors=True)
            os.rename(new, self._place(tag))

    def _open(self, tag: str) -> OnDevice:
        path = os.path.join(self._place(tag), MODEL)
        try:
            with open(os.path.join(self._place(tag), MANIFEST), "rb") as file:
                manifest = self._manifest(file.read(LARGEST_DOCUMENT + 1), tag)
            with open(path, "rb") as file:
                check_model(manifest, file.read())
        except OSError as error:
            raise DocumentRefused(f"{tag} cannot be read ({error})") from None
        return _loaded(path, manifest)

    def _is_whole(self, tag: str) -> bool:
        try:
            self._open(tag)
        except DocumentRefused:
            return False
        return True

    def _manifest(self, content: bytes, tag: str) -> Manifest:
        return read_manifest(content, self._keys, model=self._task, tag=tag, app_version=APP_VERSION)

    def _place(self, tag: str) -> str:
        return os.path.join(self._folder, tag)

    def _state(self) -> _State:
        try:
            with open(os.path.join(self._folder, STATE), "rb") as file:
                found: dict[str, Any] = json.loads(file.read())
            return _State(str(found["device"]), int(found["serial"]), found["tag"] and str(found["tag"]))
        except FileNotFoundError:
            new = _State(secrets.token_hex(16))
            self._write(new)
            return new
        except (ValueError, KeyError, TypeError) as error:
            path = os.path.join(self._folder, STATE)
            raise SpanloopError(f"{path} cannot be read ({error!r}): delete the folder to install again.") from None

    def _write(self, state: _State) -> None:
        path = os.path.join(self._folder, STATE)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)

    def _remove_others(self, tag: str) -> None:
        for entry in os.scandir(self._folder):
            if entry.is_dir(follow_symlinks=False) and entry.name != tag:
                shutil.rmtree(entry, ignore_errors=True)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Lets one process at a time change the folder."""
        os.makedirs(self._folder, exist_ok=True)
        with open(os.path.join(self._folder, ".lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _loaded(path: str, manifest: Manifest) -> OnDevice:
    """Loads a model as its manifest describes it. Raises DocumentRefused where it cannot be used."""
    try:
        return OnDevice(
            path,
            model=manifest.tag,
            labels=manifest.labels,
            input=manifest.input,
            threshold=manifest.escalation_threshold,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentRefused(f"{manifest.file} of {manifest.tag} cannot be used: {error}") from None
