"""Released models: each says what made it, and is complete or not there at all."""

import abc
import contextlib
import dataclasses
import datetime
import errno
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.data import files
from pipeline.data.folder import Folder
from pipeline.data.storage import open_storage
from pipeline.errors import BrokenRelease, NotThere, ReleaseNotFound, StorageError

ARCHIVE = "model.tar.gz"
RECORD = "model.json"


@dataclass(frozen=True)
class Release:
    """A released model, as its `model.json` tells."""

    tag: str
    identity: str  # sha256 of everything that decided what the training did
    commit: str  # "" where it was not known
    modules_digest: str
    spans: tuple[int, ...]
    labels: tuple[str, ...]
    metrics: Mapping[str, Any]
    files: Mapping[str, str]  # {name: sha256}
    created: str  # UTC, ISO 8601
    previous: str | None  # tag of the release that it had to stand up to


class Releases(abc.ABC):
    """A place where models are released under the tags model-1, model-2 and so on.

    A release is two files, the model packed and its record; without a record it is none. What a kind of place has to
    bring is below `newest`; all the rest is the same everywhere.
    """

    def get(self, tag: str) -> Release:
        """Returns a release; raises ReleaseNotFound or BrokenRelease."""
        if not _TAG.fullmatch(tag):
            raise ReleaseNotFound(tag, self.address)
        try:
            told = json.loads(self._record(tag))
            known = {name: told[name] for name in Release.__dataclass_fields__}
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenRelease(tag, f"{RECORD} cannot be read ({error!r})") from None
        return Release(**known | {"spans": tuple(known["spans"]), "labels": tuple(known["labels"])})

    def publish(
        self,
        model: str,
        *,
        identity: str,
        commit: str,
        modules_digest: str,
        spans: Iterable[int],
        labels: Iterable[str],
        metrics: Mapping[str, Any],
        previous: str | None,
    ) -> Release:
        """Releases the SavedModel in the folder `model`; if there is a release of this identity, returns that."""
        with self._exclusive(), self._workshop() as folder:
            for tag in self.tags():
                with contextlib.suppress(BrokenRelease):
                    if (there := self.get(tag)).identity == identity:
                        return there
            archive = os.path.join(folder, ARCHIVE)
            with files.told(folder):
                _pack(model, archive)
            release = Release(
                tag="",
                identity=identity,
                commit=commit,
                modules_digest=modules_digest,
                spans=tuple(spans),
                labels=tuple(labels),
                metrics=dict(metrics),
                files={ARCHIVE: _sha256(archive)},
                created=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
                previous=previous,
            )
            for number in itertools.count(1 + max(map(_number, self._taken()), default=0)):
                release = dataclasses.replace(release, tag=f"model-{number}")
                record = f"{json.dumps(dataclasses.asdict(release), indent=1)}\n".encode()
                if self._release(folder, release.tag, record):
                    return release

    def fetch(self, release: Release, folder: str) -> str:
        """Unpacks a release's SavedModel into a folder that is empty or not there yet, and returns that folder.

        Nothing is unpacked unless the archive has the checksum that the release names: BrokenRelease.
        """
        with files.told(folder), self._archive(release.tag) as archive:
            if _sha256(archive) != release.files[ARCHIVE]:
                raise BrokenRelease(release.tag, f"the checksum of {ARCHIVE} is not the one in {RECORD}")
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise StorageError(f"{folder} is not empty: choose another folder for release {release.tag}.")
            try:
                _unpack(archive, folder)
            except (tarfile.TarError, EOFError, gzip.BadGzipFile, _Unsafe) as error:
                raise BrokenRelease(release.tag, f"{ARCHIVE} cannot be unpacked ({error})") from None
        return folder

    def newest(self) -> Release | None:
        """Returns the newest release, or None before the first."""
        return next(map(self.get, self.tags()), None)

    address: str  # as errors name the place

    @abc.abstractmethod
    def tags(self) -> list[str]:
        """Returns the tags of all releases, newest first."""

    @abc.abstractmethod
    def _taken(self) -> list[str]:
        """Returns the tags that a release cannot have any more, also of what is none."""

    @abc.abstractmethod
    def _record(self, tag: str) -> bytes:
        """Returns a release's record; raises ReleaseNotFound."""

    @abc.abstractmethod
    def _archive(self, tag: str) -> contextlib.AbstractContextManager[str]:
        """Gives the path of a local file with a release's packed model; raises BrokenRelease when it is missing."""

    @abc.abstractmethod
    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Lets one process at a time release a model."""

    @abc.abstractmethod
    def _workshop(self) -> contextlib.AbstractContextManager[str]:
        """Gives an empty local folder to pack a model in."""

    @abc.abstractmethod
    def _release(self, folder: str, tag: str, record: bytes) -> bool:
        """Makes a release of the packed model in the folder, the record last; False when the tag is taken."""


def open_releases(address: str) -> Releases:
    """Returns the place that RELEASES names: a folder, or gs://bucket/prefix."""
    return BucketReleases(address) if address.startswith("gs://") else FolderReleases(address)


def _newest_first(tags: Iterable[str]) -> list[str]:
    return sorted(filter(_TAG.fullmatch, tags), key=_number, reverse=True)


class FolderReleases(Releases):
    """A folder with a folder for each release, which appears by one rename."""

    def __init__(self, path: str):
        self.address = self._root = os.path.abspath(path)

    def tags(self) -> list[str]:
        return [tag for tag in _newest_first(self._taken()) if os.path.exists(self._path(tag, RECORD))]

    def _taken(self) -> list[str]:
        with files.told(self._root), contextlib.suppress(FileNotFoundError):
            return list(filter(_TAG.fullmatch, os.listdir(self._root)))
        return []

    def _record(self, tag: str) -> bytes:
        with files.told(self._root):
            try:
                with open(self._path(tag, RECORD), "rb") as file:
                    return file.read()
            except FileNotFoundError:
                raise ReleaseNotFound(tag, self._root) from None

    @contextlib.contextmanager
    def _archive(self, tag: str) -> Iterator[str]:
        archive = self._path(tag, ARCHIVE)
        if not os.path.exists(archive):
            raise BrokenRelease(tag, f"{ARCHIVE} is missing")
        yield archive

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return Folder(self._root).exclusive("releasing a model")

    @contextlib.contextmanager
    def _workshop(self) -> Iterator[str]:
        # Beside the releases, so that a rename gets it there.
        folder = self._path(".publishing")
        with files.told(self._root):
            shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
            os.mkdir(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _release(self, folder: str, tag: str, record: bytes) -> bool:
        with files.told(self._root):
            with files.create(os.path.join(folder, RECORD)) as file:
                file.write(record)
            files.sync(folder)
            try:
                os.rename(folder, self._path(tag))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                os.unlink(os.path.join(folder, RECORD))
                return False
            files.sync(self._root)
            return True

    def _path(self, *names: str) -> str:
        return os.path.join(self._root, *names)


class BucketReleases(Releases):
    """A prefix of a bucket: the archive takes the tag, for it is written only where there is none; the record is last.

    A process that is killed between both leaves an archive without a record, which is no release and keeps its number.
    """

    def __init__(self, address: str):
        self.address = address
        self._storage = open_storage(address)

    def tags(self) -> list[str]:
        names = (entry.name.split("/") for entry in self._storage.list(""))
        return _newest_first(name[0] for name in names if name[1:] == [RECORD])

    def _taken(self) -> list[str]:
        return list(filter(_TAG.fullmatch, self._storage.folders("")))

    def _record(self, tag: str) -> bytes:
        try:
            return self._storage.read(f"{tag}/{RECORD}")
        except NotThere:
            raise ReleaseNotFound(tag, self.address) from None

    @contextlib.contextmanager
    def _archive(self, tag: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile(prefix="spanloop-", suffix=f"-{ARCHIVE}") as file:
            try:
                self._storage.copy_to(f"{tag}/{ARCHIVE}", file)
            except NotThere:
                raise BrokenRelease(tag, f"{ARCHIVE} is missing") from None
            file.flush()
            yield file.name

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return self._storage.exclusive("releasing a model")

    def _workshop(self) -> contextlib.AbstractContextManager[str]:
        return tempfile.TemporaryDirectory(prefix="spanloop-")

    def _release(self, folder: str, tag: str, record: bytes) -> bool:
        with open(os.path.join(folder, ARCHIVE), "rb") as archive:
            if not self._storage.write(f"{tag}/{ARCHIVE}", archive, create_only=True):
                return False
        return self._storage.write(f"{tag}/{RECORD}", record, create_only=True)


_TAG = re.compile(r"model-[1-9]\d*", re.ASCII)


def _number(tag: str) -> int:
    return int(tag.removeprefix("model-"))


def _pack(folder: str, archive: str) -> None:
    """Packs a folder; the same files give the same archive, whenever and wherever."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with files.create(archive) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(os.listdir(folder)):
                tar.add(os.path.join(folder, name), name, filter=anonymous)  # which goes through folders in order


class _Unsafe(Exception):
    pass


def _unpack(archive: str, folder: str) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            if member.name.startswith("/") or ".." in member.name.split("/") or not (member.isfile() or member.isdir()):
                raise _Unsafe(f"{member.name!r} would leave the folder")
        for member in members:
            path = os.path.join(folder, member.name)
            os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
            if member.isfile():
                with open(path, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
