"""The models that a server has loaded, each with its share of the traffic, and where they come from."""

import asyncio
import collections
import contextlib
import functools
import os
import re
import shutil
import tempfile
from typing import Protocol

from pipeline.config import Config
from pipeline.device import file_check, released
from pipeline.device.released import TFLITE
from pipeline.errors import NoDeviceModel
from pipeline.progress import Log
from pipeline.releases import saved_model
from pipeline.releases.factory import releases_of
from pipeline.serving.local_traffic import LocalTraffic
from pipeline.serving.server.metrics import Metrics
from pipeline.serving.server.protocol import Refusal
from pipeline.serving.server.worker import Worker
from pipeline.storage.base import checked
from pipeline.storage.factory import open_storage


class Source(Protocol):
    """Where models come from. Its methods block."""

    def wanted(self) -> dict[str, int]:
        """Returns the tags to serve, each with its percentage of the traffic; they add up to 100."""

    def fetch(self, tag: str, folder: str) -> None:
        """Writes a model, checked, to a new folder."""


class Releases:
    """RELEASES: the release `tag`, or without one those that were promoted and the canary."""

    def __init__(self, config: Config, tag: str | None = None):
        self._releases, self._traffic, self._tag = releases_of(config), LocalTraffic(config), tag

    def wanted(self) -> dict[str, int]:
        if self._tag:
            return {self._releases.get(self._tag).tag: 100}
        self._traffic.start()
        return dict(self._traffic.state().traffic)

    def fetch(self, tag: str, folder: str) -> None:
        self._releases.fetch(self._releases.get(tag), folder)


class DeviceReleases(Releases):
    """The same, of the models for devices."""

    def fetch(self, tag: str, folder: str) -> None:
        release = self._releases.get(tag)
        if release.device is None:
            raise NoDeviceModel(tag)
        released.fetch(self._releases, release, folder)


class Address:
    """The SavedModel or device model in one folder or at gs://bucket/prefix, as Vertex AI hands it over.

    Where it has none itself, but folders of versions such as 1/ and 12/, the one with the largest number is taken:
    https://www.tensorflow.org/tfx/serving/serving_config#model_version_policy
    """

    def __init__(self, address: str, tag: str = ""):
        """Without a `tag` the model is called model, or model-12 after its version."""
        self._storage, self._tag = open_storage(address.rstrip("/")), tag

    def wanted(self) -> dict[str, int]:
        version = self._version.strip("/")
        return {self._tag or (f"model-{int(version)}" if version else "model"): 100}

    def fetch(self, tag: str, folder: str) -> None:
        os.makedirs(folder)
        for name in self._names:
            if not name.startswith(self._version):
                continue
            path = os.path.join(folder, checked(name, self._storage.address()).removeprefix(self._version))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as file:
                self._storage.copy_to(name, file)
        place = self._storage.address(self._version.strip("/"))
        device_model, what = os.path.join(folder, TFLITE), f"The model at {place}"
        if os.path.exists(device_model):
            file_check.check(device_model, what)
        else:
            saved_model.check(folder, what)

    @functools.cached_property
    def _names(self) -> list[str]:
        return [entry.name.lstrip("/") for entry in self._storage.list("")]  # of a folder they are relative to ""

    @functools.cached_property
    def _version(self) -> str:
        """The folder of the model's version, such as 12/; "" where the address itself has the model, or none has."""
        models = [name for name in self._names if os.path.basename(name) in (saved_model.FILE, TFLITE)]
        folders = {os.path.dirname(name) for name in models}
        numbers = [folder for folder in folders if re.fullmatch(r"\d{1,18}", folder, re.ASCII)]
        return "" if "" in folders or not numbers else f"{max(numbers, key=int)}/"


class Models:
    """Loaded models. In 100 requests each gets its percentage, whatever the order of their arrival."""

    def __init__(self, source: Source, config: Config, metrics: Metrics, log: Log):
        self._source, self._config, self._metrics, self._log = source, config, metrics, log
        self._workers: dict[str, Worker] = {}
        self._shares: dict[str, int] = {}
        self._credit: collections.Counter[str] = collections.Counter()
        self._folder = tempfile.mkdtemp(prefix="spanloop-serving-")

    @property
    def ready(self) -> bool:
        """True when each model with traffic is loaded and warm."""
        return bool(self._shares) and all(self._workers[tag].ready for tag in self._shares)

    @property
    def shares(self) -> dict[str, int]:
        """Returns {tag: percent} of what is served now."""
        return dict(self._shares)

    def choose(self, tag: str | None = None) -> Worker:
        """Returns the model for the next request, or the one of this tag. Raises Refusal."""
        if tag:
            if tag not in self._shares:
                raise Refusal(404, f"Servable not found for request: Specific({tag})")
            return self._workers[tag]
        if not self._shares:
            raise Refusal(503, "No model is loaded yet.", 1)
        if len(self._shares) == 1:
            return next(iter(self._workers[tag] for tag in self._shares))
        for each, share in self._shares.items():
            self._credit[each] += share
        chosen = max(self._shares, key=self._credit.__getitem__)
        self._credit[chosen] -= 100
        return self._workers[chosen]

    def waiting(self) -> dict[str, int]:
        """Returns the length of each queue."""
        return {tag: worker.waiting for tag, worker in self._workers.items()}

    async def load(self) -> None:
        """Loads what the source wants now, moves the traffic, and unloads the others. Raises SpanloopError."""
        found = await asyncio.to_thread(self._source.wanted)
        wanted = {tag: share for tag, share in found.items() if share}
        for tag in wanted:
            if tag not in self._workers:
                self._workers[tag] = await self._started(tag)
        if wanted == self._shares:
            return
        self._shares = wanted
        self._credit.clear()
        self._log("Traffic: " + ", ".join(f"{tag} {share} %" for tag, share in self._shares.items()))
        for tag in [*self._workers]:
            self._metrics.share.labels(tag).set(self._shares.get(tag, 0))
            if tag not in self._shares:
                await self._unload(tag)

    async def follow(self, seconds: float) -> None:
        """Loads what the source wants every few seconds. What fails is logged, and tried again."""
        failed = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.load()
                failed = ""
            except Exception as error:  # whatever it is, what is loaded goes on serving
                if str(error) != failed:  # once, not every few seconds
                    self._log(f"The models that are loaded go on serving: {error}")
                failed = str(error)

    async def close(self) -> None:
        """Ends all processes."""
        self._shares = {}
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _started(self, tag: str) -> Worker:
        self._log(f"Loading {tag} ...")
        folder = tempfile.mkdtemp(prefix=f"{tag}-", dir=self._folder)
        try:
            await asyncio.to_thread(self._source.fetch, tag, os.path.join(folder, "model"))
            worker = Worker(folder, tag, self._config, self._metrics, self._log)
            await worker.start()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return worker

    async def _unload(self, tag: str) -> None:
        worker = self._workers.pop(tag)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(worker.drain(), self._config.serving_seconds)
        await worker.stop()
        self._log(f"Unloaded {tag}.")
