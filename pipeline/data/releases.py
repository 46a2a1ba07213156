"""Released models: each says what made it, and is complete or not there at all."""

import abc
import contextlib
import dataclasses
import datetime
import errno
import gzip
import hashlib
import json
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
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
    image: str = ""  # by digest, that the training ran in; "" where it ran in none


class Releases(abc.ABC):
    """A place where models are released under the tags model-1, model-2 and so on.

    A release is the model packed, what is released beside it, and its record; without a record it is none. What a kind
    of place has to bring is below `newest`; all the rest is the same everywhere.
    """

    def get(self, tag: str) -> Release:
        """Returns a release; raises ReleaseNotFound or BrokenRelease."""
        if not _TAG.fullmatch(tag):
            raise ReleaseNotFound(tag, self.address)
        try:
            told = {"image": ""} | json.loads(self._record(tag))  # which records did not tell at first
            known = {name: told[name] for name in Release.__dataclass_fields__}
            return Release(**known | {"spans": tuple(known["spans"]), "labels": tuple(known["labels"])})
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenRelease(tag, f"{RECORD} cannot be read ({error!r})") from None

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
        image: str = "",
        attach: Callable[[Release], Mapping[str, bytes]] = lambda release: {},
        describe: Callable[[Release], str] = lambda release: "",
    ) -> Release:
        """Releases the SavedModel in the folder `model`; if there is a release of this identity, returns that.

        `attach` returns files, by name, to be released beside the model, and `describe` what people read where a kind
        of place shows a text.
        """
        with self._exclusive(), self._workshop() as folder:
            archive, number, spans, labels = os.path.join(folder, ARCHIVE), 0, tuple(spans), tuple(labels)
            while True:
                # In this order: of two who release the same at once, the other one is found or has taken the number.
                number = 1 + max([number, *map(_number, self._taken())])
                if there := self._find(identity):
                    return there
                with files.told(folder):
                    if not os.path.exists(archive):
                        _pack(model, archive)
                    release = Release(
                        tag=f"model-{number}",
                        identity=identity,
                        commit=commit,
                        modules_digest=modules_digest,
                        spans=spans,
                        labels=labels,
                        metrics=dict(metrics),
                        files={ARCHIVE: sha256(archive)},
                        created=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
                        previous=previous,
                        image=image,
                    )
                    release = _with_files(folder, release, attach(release))
                    _write(folder, RECORD, f"{json.dumps(dataclasses.asdict(release), indent=1)}\n".encode())
                if self._release(folder, release, describe(release)):
                    return release

    def fetch(self, release: Release, folder: str) -> str:
        """Unpacks a release's SavedModel into a folder that is empty or not there yet, and returns that folder.

        Nothing is unpacked unless the archive has the checksum that the release names: BrokenRelease.
        """
        with files.told(folder), self._archive(release.tag) as archive:
            if sha256(archive) != release.files.get(ARCHIVE):
                raise BrokenRelease(release.tag, f"the checksum of {ARCHIVE} is not the one in {RECORD}")
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise StorageError(f"{folder} is not empty: choose another folder for release {release.tag}.")
            try:
                _unpack(archive, folder)
            except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, _Unsafe) as error:
                raise BrokenRelease(release.tag, f"{ARCHIVE} cannot be unpacked ({error})") from None
        return folder

    def newest(self) -> Release | None:
        """Returns the newest release, or None before the first."""
        return next(map(self.get, self.tags()), None)

    def _find(self, identity: str) -> Release | None:
        """Returns the release of this identity, None when there is none."""
        for tag in self.tags():
            with contextlib.suppress(BrokenRelease):
                if (there := self.get(tag)).identity == identity:
                    return there
        return None

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
    def _release(self, folder: str, release: Release, text: str) -> bool:
        """Makes a release of its files and its record, which lie in the folder; False when the tag is taken."""


def open_releases(address: str, token_secret: str = "") -> Releases:
    """Returns the place that RELEASES names: a folder, gs://bucket/prefix, or github:owner/name.

    For GitHub the token is $GITHUB_TOKEN, or else the secret of that resource name.
    """
    if address.startswith(GITHUB):
        from pipeline.data.github_releases import GitHubReleases
        from pipeline.secrets import github_token

        return GitHubReleases(address.removeprefix(GITHUB), github_token(token_secret))
    return BucketReleases(address) if address.startswith("gs://") else FolderReleases(address)


def releases_of(config: Config) -> Releases:
    """Returns the place that the settings name, with what they say about its token."""
    return open_releases(config.releases, config.release_token_secret)


GITHUB = "github:"


def newest_first(tags: Iterable[str]) -> list[str]:
    return sorted(filter(_TAG.fullmatch, tags), key=_number, reverse=True)


class FolderReleases(Releases):
    """A folder with a folder for each release, which appears by one rename."""

    def __init__(self, path: str):
        self.address = self._root = os.path.abspath(path)

    def tags(self) -> list[str]:
        return [tag for tag in newest_first(self._taken()) if os.path.exists(self._path(tag, RECORD))]

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

    def _release(self, folder: str, release: Release, text: str) -> bool:
        with files.told(self._root):
            files.sync(folder)
            try:
                os.rename(folder, self._path(release.tag))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
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
        return newest_first(name[0] for name in names if name[1:] == [RECORD])

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

    def _release(self, folder: str, release: Release, text: str) -> bool:
        for name in [ARCHIVE, *(name for name in release.files if name != ARCHIVE), RECORD]:
            with open(os.path.join(folder, name), "rb") as file:
                if not self._storage.write(f"{release.tag}/{name}", file, create_only=True):
                    return False
        return True


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


def _with_files(folder: str, release: Release, attached: Mapping[str, bytes]) -> Release:
    """Writes what is released beside the model to the folder, and adds the checksums."""
    for name, data in attached.items():
        _write(folder, name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in attached.items()}
    return dataclasses.replace(release, files={**release.files, **sums})


def _write(folder: str, name: str, data: bytes) -> None:
    path = os.path.join(folder, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a tag that was taken
    with files.create(path) as file:
        file.write(data)


class _Unsafe(Exception):
    pass


MOST_FILES = 10_000
MOST_BYTES = 32 << 30  # so much a model may take up on any disk
LARGEST_GAIN = 100  # times what the archive takes; a SavedModel's weights hardly shrink, its graph to a tenth


def _unpack(archive: str, folder: str) -> None:
    """Unpacks into a folder when all in the archive belongs there. Raises _Unsafe, and then nothing was written."""
    with tarfile.open(archive, "r:gz") as tar:
        members = _checked(tar, min(MOST_BYTES, LARGEST_GAIN * max(os.path.getsize(archive), 1 << 20)))
        for member in members:
            path = os.path.join(folder, member.name)
            os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
            if member.isfile():
                with open(path, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)


def _checked(tar: tarfile.TarFile, most: int) -> list[tarfile.TarInfo]:
    """Returns what is in the archive, which takes at most so many bytes. Raises _Unsafe."""
    members, names, folders, size = [], set(), set(), 0
    for member in tar:  # which reads no further than this member's head
        name, parts = member.name, member.name.split("/")
        if name.startswith("/") or ".." in parts or not (member.isreg() or member.isdir()) or member.issparse():
            raise _Unsafe(f"{name!r} would leave the folder")
        size += member.size
        if member.size < 0 or size > most or len(members) == MOST_FILES:
            raise _Unsafe(f"it would take more than {most / 1e9:.1f} GB or {MOST_FILES:,} files")
        if name in names or posixpath.normpath(name) != name:
            raise _Unsafe(f"{name!r} is another name of what is there")
        members.append(member)
        names.add(name)
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if clash := folders.intersection(member.name for member in members if member.isreg()):
        raise _Unsafe(f"{min(clash)!r} is a file and a folder")
    return members


def sha256(path: str) -> str:
    """Returns the checksum of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
