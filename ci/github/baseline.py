"""What a base commit makes of images: a release by its own code, to compare with what other code makes of the same.

The base's code runs in processes of its own, with this very Python, and sees none of our settings and secrets.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from ci.github import clone
from ci.own_workspace import environment
from pipeline.config import Config
from pipeline.errors import SpanloopError, UsageError
from pipeline.releases.base import RECORD, Release
from pipeline.releases.factory import open_releases


class NoBaseline(SpanloopError):
    """There is nothing to compare with; the message says why, without a full stop."""


@dataclass(frozen=True)
class Baselines:
    """Where baselines are kept, and what they are made of: settings, and a folder of labelled images.

    `folder` is what a cache may keep; `scratch` need not outlast a training, but has to be empty.
    """

    config: Config
    images: str
    folder: str
    scratch: str
    root: str = "."  # of the clone

    def release(self, commit: str) -> tuple[str, Release]:
        """Returns where a commit's model is released, and the release: one that is kept, or else a new one.

        Raises NoBaseline when that commit's code makes none.
        """
        kept = self._place(commit)
        whole = _whole(kept)
        if whole is None:
            shutil.rmtree(self.folder, ignore_errors=True)  # of other commits, and what is damaged
            code = os.path.join(self.scratch, "code")
            try:
                with clone.beside(self.root, commit, code):
                    self._train(code, kept)
            except UsageError as error:
                raise NoBaseline(str(error).rstrip(".")) from None
            whole = _whole(kept)
        if whole is None:
            raise NoBaseline("what the base released cannot be read")
        return kept, whole

    def keep(self, commit: str, release: str) -> None:
        """Keeps the folder of a release that a commit's code has made, for whom this commit is the base."""
        place = self._place(commit)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(release, os.path.join(place, os.path.basename(release)))

    def _place(self, commit: str) -> str:
        return os.path.join(self.folder, commit, self._key())

    def _train(self, code: str, releases: str) -> None:
        config = self.config
        variables = environment(
            os.environ,
            WORKSPACE=os.path.join(self.scratch, "workspace"),
            RELEASES=releases,
            ACCURACY_THRESHOLD="0",  # however good it is: it is there to be compared with
            MODULES=config.modules,
            SEED=str(config.seed),
            TUNE=str(config.tune).lower(),
        )
        for arguments in (["import-images", self.images], ["train"]):
            done = subprocess.run(
                [sys.executable, "-m", "ci", *arguments, "--json"],
                cwd=code,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            if done.returncode:
                raise NoBaseline(f"the base's `{arguments[0]}` failed, and says why in the log")

    def _key(self) -> str:
        """Returns what tells trainings of one commit apart."""
        config, digest = self.config, hashlib.sha256()
        digest.update(json.dumps([config.modules, config.seed, config.tune]).encode())
        for folder, folders, names in os.walk(self.images):
            folders.sort()
            for name in sorted(names):
                with open(os.path.join(folder, name), "rb") as file:
                    digest.update(f"{os.path.basename(folder)}/{name}\0".encode() + file.read())
        return digest.hexdigest()[:16]


def adopt(releases: str, release: Release, place: str) -> Release:
    """Copies a release to an empty place, where it is the current model that a new one has to stand up to.

    It gets another identity: code that decides the same would otherwise find that it has released its model already.
    """
    target = os.path.join(place, release.tag)
    shutil.copytree(os.path.join(releases, release.tag), target)
    with open(os.path.join(target, RECORD), encoding="utf-8") as file:
        told = json.load(file)
    told["identity"] = hashlib.sha256(f"baseline {release.identity}".encode()).hexdigest()
    with open(os.path.join(target, RECORD), "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
    return open_releases(place).get(release.tag)


def _whole(place: str) -> Release | None:
    """Returns the release in a place if there is one whose model is what its record says."""
    releases = open_releases(place)
    try:
        release = releases.newest()
        if release:
            with tempfile.TemporaryDirectory() as folder:
                releases.fetch(release, folder)
        return release
    except SpanloopError:
        return None
