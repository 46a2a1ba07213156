"""Releases trained by the code of a base commit, to compare with the model that changed code trains on the same images.

The base's code runs in separate processes of this Python, without this process's settings and secrets.
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
from pipeline.releases.factory import open_releases
from pipeline.releases.record import RECORD, Release


class NoBaseline(SpanloopError):
    """No baseline is available; the message is the reason, without a full stop."""


@dataclass(frozen=True)
class Baselines:
    """Folder of cached baselines, with the settings and labelled images from which they are trained.

    `folder` may be cached between jobs; `scratch` must be empty and is needed only during a training.
    """

    config: Config
    images: str
    folder: str
    scratch: str
    root: str = "."  # of the clone

    def release(self, commit: str) -> tuple[str, Release]:
        """Returns the folder of releases and the release of a commit: the cached one, or else a new one.

        Raises NoBaseline when the commit's code releases no model.
        """
        kept = self._place(commit)
        whole = _valid_release(kept)
        if whole is None:
            shutil.rmtree(self.folder, ignore_errors=True)  # releases of other commits, and damaged ones
            code = os.path.join(self.scratch, "code")
            try:
                with clone.beside(self.root, commit, code):
                    self._train(code, kept)
            except UsageError as error:
                raise NoBaseline(str(error).rstrip(".")) from None
            whole = _valid_release(kept)
        if whole is None:
            raise NoBaseline("the base's release cannot be read")
        return kept, whole

    def keep(self, commit: str, release: str) -> None:
        """Caches the folder of a commit's release, for changes whose base is this commit."""
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
            ACCURACY_THRESHOLD="0",  # any model will do: it is only compared with
            LABEL_FLOOR="0",
            MODULES=config.modules,
            SEED=str(config.seed),
            TUNE=str(config.tune).lower(),
            DEVICE_MODEL=str(config.device_model).lower(),
            DEVICE_QUANTIZATION=config.device_quantization,
            DEVICE_AGREEMENT="0",
            DEVICE_MEGABYTES="0",
            DEVICE_MILLISECONDS="0",
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
                raise NoBaseline(f"the base's `{arguments[0]}` failed: see the log")

    def _key(self) -> str:
        """Returns a digest that distinguishes trainings of one commit: settings and images."""
        config, digest = self.config, hashlib.sha256()
        device = [config.device_model, config.device_quantization]
        digest.update(json.dumps([config.modules, config.seed, config.tune, device]).encode())
        for folder, folders, names in os.walk(self.images):
            folders.sort()
            for name in sorted(names):
                with open(os.path.join(folder, name), "rb") as file:
                    digest.update(f"{os.path.basename(folder)}/{name}\0".encode() + file.read())
        return digest.hexdigest()[:16]


def adopt(releases: str, release: Release, place: str) -> Release:
    """Copies a release to an empty folder, where it is the current model that a new one is compared with.

    It gets another identity: otherwise unchanged code would find that its model is released already.
    """
    target = os.path.join(place, release.tag)
    shutil.copytree(os.path.join(releases, release.tag), target)
    with open(os.path.join(target, RECORD), encoding="utf-8") as file:
        record = json.load(file)
    record["identity"] = hashlib.sha256(f"baseline {release.identity}".encode()).hexdigest()
    with open(os.path.join(target, RECORD), "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
    return open_releases(place).get(release.tag)


def _valid_release(place: str) -> Release | None:
    """Returns the release in a folder if its model matches its record, None otherwise."""
    releases = open_releases(place)
    try:
        release = releases.newest()
        if release:
            with tempfile.TemporaryDirectory() as folder:
                releases.fetch(release, folder)
        return release
    except SpanloopError:
        return None
