"""The channels that devices follow: publishes releases, moves the pointers `stable` and `beta` by the canary policy.

All state is in the signed pointers: `stable` has the promoted release and the one before, `beta` the one that is tried.
So every call may be repeated, by any process, also after one that was killed.
"""

import dataclasses
import datetime
import os
import tempfile
from collections.abc import Callable, Mapping

from pipeline.config import Config, is_kms_key
from pipeline.errors import BrokenChannel, ConfigError, NoDeviceModel, OtherModelPublished
from pipeline.outcomes import ChannelState, DevicesOutcome
from pipeline.progress import Log, no_log
from pipeline.releases.archive import sha256
from pipeline.releases.factory import GITHUB, releases_of
from pipeline.releases.record import DEVICE_MODEL, Release
from pipeline.serving import canary
from pipeline.serving.canary import PREVIOUS, PROMOTED, ROLLED_BACK, Goal, State
from pipeline.serving.device_manifest import (
    Document,
    DocumentRefused,
    Manifest,
    Pointer,
    parse_time,
    read_manifest,
    read_pointer,
)
from pipeline.serving.device_place import DevicePlace, StoragePlace
from pipeline.serving.device_signing import Signer

FOLDER = "devices"
MANIFEST = "manifest.json"
STABLE, BETA = "stable", "beta"
Pointers = Mapping[str, Pointer]  # by channel

_EVER = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)  # before every expiry


class DeviceChannel:
    """The channels of the task MODULES at DEVICE_CHANNEL."""

    def __init__(self, config: Config, log: Log = no_log):
        config.require("device_channel", "device_signing_key")
        self._config, self._log = config, log
        self.task = config.modules.rpartition(".")[2]
        self._place = _place(config)
        self._signer = Signer(config.device_signing_key)

    def publish(self, release: Release) -> None:
        """Publishes the model for devices of a release, once: the model first, then the manifest that names it.

        Raises NoDeviceModel, or OtherModelPublished where the tag was published with another model.
        """
        if release.device is None:
            raise NoDeviceModel(release.tag)
        folder = f"{FOLDER}/{self.task}/{release.tag}"
        checksum = release.files[release.device.file]
        if manifest := self.published(release.tag):
            if manifest.sha256 != checksum:
                raise OtherModelPublished(release.tag, self._place.address)
            return
        self._log(f"Publishing {release.tag} for devices ...")
        with tempfile.TemporaryDirectory(prefix="spanloop-") as local:
            model, manifest = os.path.join(local, DEVICE_MODEL), os.path.join(local, MANIFEST)
            releases_of(self._config).fetch_device_model(release, model)
            if not self._place.create(f"{folder}/{DEVICE_MODEL}", model):
                with open(model, "wb") as file:
                    file.write(self._place.read(f"{folder}/{DEVICE_MODEL}") or b"")
                if sha256(model) != checksum:
                    raise OtherModelPublished(release.tag, self._place.address)
            with open(manifest, "wb") as file:
                file.write(self._signer.sign(self._describe(release)))
            self._place.create(f"{folder}/{MANIFEST}", manifest)

    def pointers(self) -> Pointers:
        """Returns the pointers that there are, also expired ones. Raises BrokenChannel unless our key signed them."""
        found = {}
        for channel in (STABLE, BETA):
            name = self._pointer(channel)
            if content := self._place.read(name):
                options = {"model": self.task, "channel": channel, "now": _EVER}
                found[channel] = self._trusted(name, lambda of=content, by=options: read_pointer(of, self._keys, **by))
        return found

    def state(self) -> State:
        """Returns the state of the channels as the canary policy takes it."""
        return self._state(self.pointers())

    def reach(self, goal: Goal, percent: int = 100) -> DevicesOutcome:
        """Moves the pointers to the state of `goal`; a release that is new on `stable` gets `percent` of its devices.

        `stable` is written first: from any state in between, the same goal leads to the same end. Pointers of which
        half the time has passed are signed again.
        """
        with self._place.exclusive():
            before = self.pointers()
            wanted = goal(self._state(before))
            after = {
                channel: self._moved(before.get(channel), pointer)
                for channel, pointer in self._planned(before.get(STABLE), wanted, percent).items()
            }
        return self._outcome(after, changed=after != before)

    def look(self) -> DevicesOutcome:
        """Returns the channels as they are. Changes nothing."""
        return self._outcome(self.pointers(), changed=False)

    def _outcome(self, pointers: Pointers, changed: bool) -> DevicesOutcome:
        channels = {
            name: ChannelState(of.tag, of.percent, of.previous, of.serial, of.expires) for name, of in pointers.items()
        }
        return DevicesOutcome(self._place.address, channels, changed)

    def _planned(self, stable: Pointer | None, wanted: State, percent: int) -> dict[str, Pointer]:
        """Returns the pointers of a state, not yet numbered and dated."""
        blank = Pointer(self.task, STABLE, 0, "", "", wanted.promoted, percent, wanted.previous or None)
        planned = {STABLE: dataclasses.replace(blank, rolled_back=wanted.rolled_back or None)}
        tried = next(iter(wanted.canaries), wanted.promoted)
        share = wanted.traffic[tried]
        others = None if tried == wanted.promoted else wanted.promoted
        return planned | {BETA: Pointer(self.task, BETA, 0, "", "", tried, share, others)}

    def _moved(self, there: Pointer | None, wanted: Pointer) -> Pointer:
        """Signs and writes a pointer unless the one that is there says the same, for long enough."""
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        valid = datetime.timedelta(days=self._config.device_valid_days)
        if there and dataclasses.replace(there, serial=0, issued="", expires="") == wanted:
            if now + valid / 2 < parse_time(there.expires):
                return there
        # The clock's seconds let a serial rise also where the last pointer was lost.
        serial = max(int(now.timestamp()), there.serial + 1 if there else 0)
        pointer = dataclasses.replace(wanted, serial=serial, issued=_time(now), expires=_time(now + valid))
        self._log(f"Channel {pointer.channel}: {pointer.tag} for {pointer.percent} % of the devices ...")
        self._place.replace(self._pointer(pointer.channel), self._signer.sign(pointer))
        return pointer

    def _state(self, pointers: Pointers) -> State:
        name = f"{self._place.address}, channels of {self.task}"
        stable, beta = pointers.get(STABLE), pointers.get(BETA)
        if stable is None:
            return State({}, {}, name)
        traffic = {stable.tag: 100}
        if beta and beta.tag != stable.tag:
            traffic = {stable.tag: 100 - beta.percent, beta.tag: beta.percent}
        labels = {PROMOTED: stable.tag, PREVIOUS: stable.previous, ROLLED_BACK: stable.rolled_back}
        return State(traffic, {label: tag for label, tag in labels.items() if tag}, name)

    def _describe(self, release: Release) -> Manifest:
        device = release.device
        return Manifest(
            model=self.task,
            tag=release.tag,
            created=release.created,
            file=DEVICE_MODEL,
            bytes=device.bytes,
            sha256=release.files[device.file],
            labels=device.labels,
            input=device.input,
            quantization=device.quantization,
            metrics={"accuracy": device.metrics.accuracy, "images": device.metrics.images},
            escalation_threshold=device.escalation.threshold if device.escalation else None,
            minimum_app_version=self._config.device_min_app_version,
        )

    def published(self, tag: str) -> Manifest | None:
        """Returns the manifest of a published model, None without one. Raises BrokenChannel for a stranger's."""
        name = f"{FOLDER}/{self.task}/{tag}/{MANIFEST}"
        content = self._place.read(name)
        return content and self._trusted(name, lambda: read_manifest(content, self._keys, model=self.task, tag=tag))

    @property
    def _keys(self) -> list[str]:
        return [self._signer.public_pem]

    def _trusted(self, name: str, read: Callable[[], Document]) -> Document:
        try:
            return read()
        except DocumentRefused as refused:
            raise BrokenChannel(f"{self._place.address}/{name}", str(refused)) from None

    def _pointer(self, channel: str) -> str:
        return f"{FOLDER}/{self.task}/channels/{channel}.json"


def check_settings(config: Config, on_vertex: bool) -> None:
    """Raises MissingSettings or ConfigError for settings with which the pipeline cannot publish."""
    config.require("device_channel", "device_signing_key")
    if not on_vertex:
        return
    if not config.device_channel.startswith(("gs://", "github:")):
        raise ConfigError(
            "DEVICE_CHANNEL", config.device_channel, "gs://bucket/prefix or github:owner/name on Vertex AI"
        )
    if not is_kms_key(config.device_signing_key):
        raise ConfigError("DEVICE_SIGNING_KEY", config.device_signing_key, "a key in Cloud KMS on Vertex AI")


def publish(config: Config, release: Release, log: Log = no_log) -> DevicesOutcome:
    """Publishes a release and gives it CANARY_TRAFFIC percent of the devices on beta; all devices if it is the first.

    A release that was promoted or rolled back already is left as it is.
    """
    channel = DeviceChannel(config, log)
    channel.publish(release)
    return channel.reach(canary.canary(release.tag, config.canary_traffic))


def _time(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _place(config: Config) -> DevicePlace:
    """Returns the place DEVICE_CHANNEL; GitHub's token is that of releases."""
    if config.device_channel.startswith(GITHUB):
        from pipeline.cloud.secrets import github_token
        from pipeline.serving.device_github import GitHubPlace

        return GitHubPlace(config.device_channel.removeprefix(GITHUB), github_token(config.release_token_secret))
    from pipeline.storage.factory import open_storage

    return StoragePlace(open_storage(config.device_channel))
