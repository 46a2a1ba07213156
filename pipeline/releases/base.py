"""Released models: each records what made it, and appears complete or not at all."""

import abc
import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from pipeline.errors import BrokenRelease, OnlyOnVertex, ReleaseNotFound, StorageError, UnsafeModel
from pipeline.outcomes import Metrics, SpanState
from pipeline.releases import saved_model
from pipeline.releases.archive import ARCHIVE, Unsafe, pack, sha256, unpack
from pipeline.releases.record import AUTOML, RECORD, TAG, TFX, DeviceModel, Release, format_record, parse_record
from pipeline.storage import files


class Releases(abc.ABC):
    """A place where models are released under the tags model-1, model-2 and so on.

    A release is the packed model, the files beside it, and its record; without a record it does not exist. Subclasses
    implement the abstract methods.
    """

    def get(self, tag: str) -> Release:
        """Returns a release; raises ReleaseNotFound or BrokenRelease."""
        if not TAG.fullmatch(tag):
            raise ReleaseNotFound(tag, self.address)
        return parse_record(tag, self._record(tag))

    def publish(
        self,
        model: str,
        *,
        identity: str,
        commit: str,
        modules_digest: str,
        spans: Iterable[int],
        labels: Iterable[str],
        metrics: Metrics,
        previous: str | None,
        image: str = "",
        data: Mapping[str, SpanState] | None = None,
        device: DeviceModel | None = None,
        device_file: str = "",
        cloud_model: str = "",
        given: Iterable[str] = (),
        attach: Callable[[Release], Mapping[str, bytes]] = lambda release: {},
        describe: Callable[[Release], str] = lambda release: "",
    ) -> Release:
        """Releases the SavedModel in the folder `model`; returns the existing release of this identity, if any.

        With it the model for devices, `device`, whose file has the path `device_file`, where there is one. Of AutoML,
        `model` is empty and `cloud_model` the name of the model's version on Vertex AI. Numbers of the tags `given`,
        whose releases may be deleted by now, are not given again.
        `attach` returns files to release beside the model, by name; `describe` returns the text that GitHub shows.
        Raises UnsafeModel for what `fetch` would refuse.
        """
        if not cloud_model:
            saved_model.check(model, "The trained model")
        with self._exclusive(), self._packing_folder() as folder:
            number, spans, labels = max(map(_number, given), default=0), tuple(spans), tuple(labels)
            packed = [*([] if cloud_model else [ARCHIVE]), *([device.file] if device else [])]
            while True:
                # In this order: of two processes that release the same, one finds the other's release or number.
                number = 1 + max([number, *map(_number, self._taken())])
                if there := self._find(identity):
                    return there
                with files.os_errors(folder):
                    if not os.path.exists(os.path.join(folder, packed[0])):
                        if not cloud_model:
                            pack(model, os.path.join(folder, ARCHIVE))
                        if device:
                            shutil.copyfile(device_file, os.path.join(folder, device.file))
                    release = Release(
                        tag=f"model-{number}",
                        identity=identity,
                        commit=commit,
                        modules_digest=modules_digest,
                        spans=spans,
                        labels=labels,
                        metrics=metrics,
                        files={name: sha256(os.path.join(folder, name)) for name in packed},
                        created=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
                        previous=previous,
                        image=image,
                        data=dict(data or {}),
                        device=device,
                        flavour=AUTOML if cloud_model else TFX,
                        cloud_model=cloud_model,
                    )
                    release = _with_files(folder, release, attach(release))
                    _write(folder, RECORD, format_record(release))
                if self._release(folder, release, describe(release)):
                    return release

    def fetch(self, release: Release, folder: str) -> str:
        """Unpacks a release's SavedModel into an empty or new folder, and returns that folder.

        Raises BrokenRelease, before anything is unpacked, unless the archive has the recorded checksum; UnsafeModel,
        and leaves nothing there, for a model that could do more than compute; OnlyOnVertex for one of AutoML.
        """
        if release.cloud_model:
            raise OnlyOnVertex(release.tag, release.cloud_model)
        with files.os_errors(folder), self._verified(release, ARCHIVE) as archive:
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise StorageError(folder, "not empty", f"Choose another folder for release {release.tag}.")
            try:
                unpack(archive, folder)
            except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, Unsafe) as error:
                raise BrokenRelease(release.tag, f"{ARCHIVE} cannot be unpacked ({ascii(str(error)):.200})") from None
            try:
                saved_model.check(folder, f"The model of release {release.tag}")
            except UnsafeModel:
                shutil.rmtree(folder)
                raise
        return folder

    def fetch_device_model(self, release: Release, path: str) -> None:
        """Writes the device model of a release, which has one, to a new file.

        Raises BrokenRelease unless it has the recorded size and checksum.
        """
        self.fetch_file(release, release.device.file, path)

    def fetch_file(self, release: Release, name: str, path: str) -> None:
        """Writes one of a release's files to a new file.

        Raises BrokenRelease unless it has the recorded checksum and, for the device model, the recorded size.
        """
        device = release.device
        with files.os_errors(path), self._verified(release, name) as local:
            if device and name == device.file and (found := os.path.getsize(local)) != device.bytes:
                raise BrokenRelease(release.tag, f"{name} has {found:,} bytes, not the {device.bytes:,} in {RECORD}")
            with open(local, "rb") as source, open(path, "xb") as file:
                shutil.copyfileobj(source, file)

    @contextlib.contextmanager
    def _verified(self, release: Release, name: str) -> Iterator[str]:
        """Yields the path of a local file. Raises BrokenRelease unless it is there and has the recorded checksum."""
        with self._file(release.tag, name) as path:
            if sha256(path) != release.files.get(name):
                raise BrokenRelease(release.tag, f"the checksum of {name} is not the one in {RECORD}")
            yield path

    def newest(self) -> Release | None:
        """Returns the newest release, None before the first."""
        return next(map(self.get, self.tags()), None)

    def _find(self, identity: str) -> Release | None:
        """Returns the release of this identity, None without one."""
        for tag in self.tags():
            with contextlib.suppress(BrokenRelease, ReleaseNotFound):  # the second where it is just being deleted
                if (there := self.get(tag)).identity == identity:
                    return there
        return None

    address: str  # of the place, for errors

    @abc.abstractmethod
    def tags(self) -> list[str]:
        """Returns the tags of all releases, newest first."""

    @abc.abstractmethod
    def _taken(self) -> list[str]:
        """Returns all tags in use, also those of incomplete releases."""

    @abc.abstractmethod
    def _record(self, tag: str) -> bytes:
        """Returns the content of a release's record, of at most LARGEST_RECORD + 1 bytes; raises ReleaseNotFound."""

    @abc.abstractmethod
    def _file(self, tag: str, name: str) -> contextlib.AbstractContextManager[str]:
        """Yields the path of a local file with one of a release's files. Raises BrokenRelease without one."""

    @abc.abstractmethod
    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Lets one process at a time release a model."""

    @abc.abstractmethod
    def _packing_folder(self) -> contextlib.AbstractContextManager[str]:
        """Yields an empty local folder to pack a model in."""

    @abc.abstractmethod
    def _release(self, folder: str, release: Release, text: str) -> bool:
        """Publishes the files of the folder, the record last; returns False when the tag is taken."""


def newest_first(tags: Iterable[str]) -> list[str]:
    return sorted(filter(TAG.fullmatch, tags), key=_number, reverse=True)


def _number(tag: str) -> int:
    return int(tag.removeprefix("model-"))


def _with_files(folder: str, release: Release, attached: Mapping[str, bytes]) -> Release:
    """Writes the files beside the model to the folder, and adds their checksums to the release."""
    for name, data in attached.items():
        _write(folder, name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in attached.items()}
    return dataclasses.replace(release, files={**release.files, **sums})


def _write(folder: str, name: str, data: bytes) -> None:
    path = os.path.join(folder, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # from the attempt with a tag that was taken
    with files.create(path) as file:
        file.write(data)
