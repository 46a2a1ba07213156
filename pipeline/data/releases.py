"""Released models: each says what made it, and is complete or not there at all."""

import abc
import contextlib
import datetime
import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.data import files
from pipeline.data.folder import Folder
from pipeline.errors import BrokenRelease, ReleaseNotFound, StorageError

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
    """A place where models are released under the tags model-1, model-2 and so on."""

    @abc.abstractmethod
    def tags(self) -> list[str]:
        """Returns the tags of all releases, newest first."""

    @abc.abstractmethod
    def get(self, tag: str) -> Release:
        """Returns a release; raises ReleaseNotFound or BrokenRelease."""

    @abc.abstractmethod
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

    @abc.abstractmethod
    def fetch(self, release: Release, folder: str) -> str:
        """Unpacks a release's SavedModel into a folder that is empty or not there yet, and returns that folder.

        Nothing is unpacked unless the archive has the checksum that the release names: BrokenRelease.
        """

    def newest(self) -> Release | None:
        """Returns the newest release, or None before the first."""
        return next(map(self.get, self.tags()), None)


def open_releases(address: str) -> Releases:
    """Returns the place that RELEASES names."""
    return FolderReleases(address)


class FolderReleases(Releases):
    """A folder with a folder for each release."""

    def __init__(self, path: str):
        self._root = os.path.abspath(path)

    def tags(self) -> list[str]:
        with files.told(self._root):
            try:
                names = os.listdir(self._root)
            except FileNotFoundError:
                return []
            there = [name for name in names if _TAG.fullmatch(name) and os.path.exists(self._path(name, RECORD))]
        return sorted(there, key=_number, reverse=True)

    def get(self, tag: str) -> Release:
        if not _TAG.fullmatch(tag) or not os.path.exists(self._path(tag, RECORD)):
            raise ReleaseNotFound(tag, self._root)
        with files.told(self._root), open(self._path(tag, RECORD), encoding="utf-8") as file:
            try:
                told = json.load(file)
                known = {name: told[name] for name in Release.__dataclass_fields__}
            except (ValueError, KeyError, TypeError) as error:
                raise BrokenRelease(tag, f"{RECORD} cannot be read ({error!r})") from None
        return Release(**known | {"spans": tuple(known["spans"]), "labels": tuple(known["labels"])})

    def publish(self, model, *, identity, commit, modules_digest, spans, labels, metrics, previous) -> Release:
        with Folder(self._root).exclusive("releasing a model"), files.told(self._root):
            for tag in self.tags():
                with contextlib.suppress(BrokenRelease):
                    if (there := self.get(tag)).identity == identity:
                        return there
            unfinished = self._path(".publishing")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
            os.mkdir(unfinished)
            archive = os.path.join(unfinished, ARCHIVE)
            _pack(model, archive)
            release = Release(
                tag=f"model-{1 + max(map(_number, filter(_TAG.fullmatch, os.listdir(self._root))), default=0)}",
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
            with files.create(os.path.join(unfinished, RECORD)) as file:
                file.write(f"{json.dumps(asdict(release), indent=1)}\n".encode())
            files.sync(unfinished)
            os.rename(unfinished, self._path(release.tag))
            files.sync(self._root)
            return release

    def fetch(self, release: Release, folder: str) -> str:
        archive = self._path(release.tag, ARCHIVE)
        with files.told(folder):
            try:
                if _sha256(archive) != release.files[ARCHIVE]:
                    raise BrokenRelease(release.tag, f"the checksum of {ARCHIVE} is not the one in {RECORD}")
            except FileNotFoundError:
                raise BrokenRelease(release.tag, f"{ARCHIVE} is missing") from None
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise StorageError(f"{folder} is not empty: choose another folder for release {release.tag}.")
            try:
                _unpack(archive, folder)
            except (tarfile.TarError, EOFError, gzip.BadGzipFile, _Unsafe) as error:
                raise BrokenRelease(release.tag, f"{ARCHIVE} cannot be unpacked ({error})") from None
        return folder

    def _path(self, *names: str) -> str:
        return os.path.join(self._root, *names)


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
