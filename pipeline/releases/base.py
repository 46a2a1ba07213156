"""Released models: each says what made it, and is complete or not there at all."""

import abc
import contextlib
import dataclasses
import datetime
import gzip
import hashlib
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pipeline.errors import BrokenRelease, ReleaseNotFound, StorageError
from pipeline.outcomes import Metrics
from pipeline.releases.archive import ARCHIVE, Unsafe, pack, sha256, unpack
from pipeline.storage import files

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
    metrics: Metrics
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
        if not TAG.fullmatch(tag):
            raise ReleaseNotFound(tag, self.address)
        try:
            told = {"image": ""} | json.loads(self._record(tag))  # which records did not tell at first
            known = {name: told[name] for name in Release.__dataclass_fields__}
            spans, labels, metrics = tuple(known["spans"]), tuple(known["labels"]), Metrics.from_json(known["metrics"])
            return Release(**known | {"spans": spans, "labels": labels, "metrics": metrics})
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
        metrics: Metrics,
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
                with files.os_errors(folder):
                    if not os.path.exists(archive):
                        pack(model, archive)
                    release = Release(
                        tag=f"model-{number}",
                        identity=identity,
                        commit=commit,
                        modules_digest=modules_digest,
                        spans=spans,
                        labels=labels,
                        metrics=metrics,
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
        with files.os_errors(folder), self._archive(release.tag) as archive:
            if sha256(archive) != release.files.get(ARCHIVE):
                raise BrokenRelease(release.tag, f"the checksum of {ARCHIVE} is not the one in {RECORD}")
            os.makedirs(folder, exist_ok=True)
            if os.listdir(folder):
                raise StorageError(folder, "not empty", f"Choose another folder for release {release.tag}.")
            try:
                unpack(archive, folder)
            except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, Unsafe) as error:
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


def newest_first(tags: Iterable[str]) -> list[str]:
    return sorted(filter(TAG.fullmatch, tags), key=_number, reverse=True)


TAG = re.compile(r"model-[1-9]\d*", re.ASCII)


def _number(tag: str) -> int:
    return int(tag.removeprefix("model-"))


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
