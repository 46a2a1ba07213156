"""The models of the newest release, run on this machine: for a client that has neither a channel nor a server."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from apps.client.answers import Answer, Unanswered
from apps.client.device import OnDevice
from pipeline.batch.model_client import ModelClient
from pipeline.device import file_check
from pipeline.errors import BrokenRelease, NoDeviceModel, NoRelease, SpanloopError
from pipeline.progress import Log, no_log
from pipeline.releases.base import Releases
from pipeline.releases.record import Release


def newest(releases: Releases) -> Release:
    """Returns the newest release. Raises NoRelease."""
    release = releases.newest()
    if release is None:
        raise NoRelease(releases.address)
    return release


@contextlib.contextmanager
def device_model(releases: Releases, release: Release) -> Iterator[OnDevice]:
    """Yields the device model of a release. Raises NoDeviceModel, BrokenRelease or UnsafeModel."""
    of = release.device
    if of is None:
        raise NoDeviceModel(release.tag)
    with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
        path = os.path.join(folder, of.file)
        file_check.fetch(releases, release, path)
        threshold = of.escalation.threshold if of.escalation else None
        try:
            model = OnDevice(path, model=release.tag, labels=of.labels, input=of.input, threshold=threshold)
        except ValueError as error:
            raise BrokenRelease(release.tag, f"its device model cannot be used: {error}") from None
        yield model


class ConfinedModel:
    """The cloud model of a release in its confined process, which has no network and no files but the model's."""

    def __init__(self, releases: Releases, release: Release, log: Log = no_log):
        self._tag = release.tag
        with contextlib.ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="spanloop-"))
            releases.fetch(release, os.path.join(folder, "model"))
            self._process = opened.enter_context(ModelClient(folder, release.tag, log))
            self._opened = opened.pop_all()
        self._pool = ThreadPoolExecutor(1)  # the process answers one request after the other

    def ask(self, picture: bytes) -> "Future[Answer]":
        """Begins to ask about a PNG or JPEG. The result may be Unanswered."""
        return self._pool.submit(self._ask, picture)

    def close(self) -> None:
        self._pool.shutdown()
        self._opened.close()

    def _ask(self, picture: bytes) -> Answer:
        began = time.perf_counter()
        try:
            (found,) = self._process.classify([picture])
        except SpanloopError as error:
            raise Unanswered(str(error)) from None
        if found is None:
            raise Unanswered("it is not a JPEG or PNG that can be decoded", rests=False)
        return Answer(found.label, found.confidence, {}, self._tag, time.perf_counter() - began)
