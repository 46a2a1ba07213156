"""Models for devices as files of GitHub releases: one release for each folder of names.

devices/classification/model-3/manifest.json is the file manifest.json of the release devices-classification-model-3.
They are prereleases, so that none of them is the repository's latest release.
"""

import contextlib
import datetime
import io
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import retry
from pipeline.errors import GitHubRefused
from pipeline.github import client
from pipeline.github.client import github_errors
from pipeline.serving.device_place import DevicePlace

if TYPE_CHECKING:
    from github.GitRelease import GitRelease
    from github.GitReleaseAsset import GitReleaseAsset

log = logging.getLogger(__name__)

NEW = ".new"  # ending of a pointer's file until the old one is deleted
LOCK = "devices/publishing.lock"  # there while a process changes pointers
EXPIRES = datetime.timedelta(minutes=5)  # after which a lock is that of a process that was killed; seconds are enough


class GitHubPlace(DevicePlace):
    """The releases of the repository `name`."""

    def __init__(self, name: str, token: str):
        from pipeline.releases.github_files import Files

        self.address = f"github:{name}"
        self._repository = client.repository(name, token)
        self._files = Files(token)

    def read(self, name: str) -> bytes | None:
        with github_errors(f"Reading {name} in {self.address}"):
            release, file = self._release(name), os.path.basename(name)
            assets = _assets(release) if release else {}
            asset = assets.get(file) or assets.get(file + NEW)
            if not asset or asset.state != "uploaded":
                return None
            content = io.BytesIO()
            self._files.download(asset, content)
            return content.getvalue()

    def create(self, name: str, path: str) -> bool:
        with github_errors(f"Publishing {name} in {self.address}"):
            release = self._release(name) or self._create(name)
            return self._upload(release, path)

    def replace(self, name: str, content: bytes) -> None:
        """Uploads the new file beside the old one, and gives it its name when the old one is deleted.

        GitHub replaces no file. `read` finds the new one where a process was killed in between; a device that looks in
        that moment finds none, keeps its model and looks again.
        """
        file = os.path.basename(name)
        with github_errors(f"Writing {name} in {self.address}"), tempfile.TemporaryDirectory() as folder:
            release = self._release(name) or self._create(name)
            self._finish(release, file)  # what a killed process began
            path = os.path.join(folder, file + NEW)
            with open(path, "wb") as local:
                local.write(content)
            self._upload(release, path)
            if old := _assets(release).get(file):
                _delete(old)
            self._finish(release, file)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lets one process at a time change the pointers: the one whose file LOCK GitHub has taken."""
        with tempfile.TemporaryDirectory(prefix="spanloop-") as folder:
            path = os.path.join(folder, os.path.basename(LOCK))
            with open(path, "w", encoding="utf-8") as file:
                holder = {"host": socket.gethostname(), "process": os.getpid(), "mark": os.urandom(12).hex()}
                json.dump(holder, file)
            if not (lock := self._acquire(path)):
                log.warning("Another process is publishing to devices in %s: waiting until it is done.", self.address)
                for wait in retry.LOCK.waits():
                    time.sleep(wait)
                    if lock := self._acquire(path):
                        break
        try:
            yield
        finally:
            # Where deleting fails, the lock expires.
            with contextlib.suppress(GitHubRefused), github_errors(f"Deleting {LOCK} in {self.address}"):
                _delete(lock)

    def _acquire(self, path: str) -> "GitReleaseAsset | None":
        """Returns the lock, None while another process has it. Deletes one that a killed process left."""
        from pipeline.releases.github_files import arrived

        created = self.create(LOCK, path)
        with github_errors(f"Reading {LOCK} in {self.address}"):
            lock = _assets(self._release(LOCK)).get(os.path.basename(LOCK))
            if created and arrived(lock, path):
                return lock
            if lock and datetime.datetime.now(datetime.timezone.utc) - lock.created_at > EXPIRES:
                _delete(lock)
        return None

    def _finish(self, release: "GitRelease", file: str) -> None:
        """Gives a new file its name where the old one is gone; deletes it where it is not, or did not arrive whole."""
        assets = _assets(release)
        if new := assets.get(file + NEW):
            if new.state == "uploaded" and file not in assets:
                new.update_asset(file)
            else:
                new.delete_asset()

    def _upload(self, release: "GitRelease", path: str) -> bool:
        """Uploads a file; False where there is another of its name. One that did not arrive whole is replaced."""
        from github import GithubException

        from pipeline.releases.github_files import arrived

        name = os.path.basename(path)
        there = _assets(release).get(name)
        if there and there.state == "uploaded":
            return False
        if there:
            there.delete_asset()
        try:
            self._files.upload(release, path)
        except GithubException as error:
            # an earlier attempt whose answer was lost, or another process
            there = _assets(release).get(name)
            if error.status != 422 or not there or there.state != "uploaded":
                raise
            return arrived(there, path)
        return True

    def _release(self, name: str) -> "GitRelease | None":
        from github import UnknownObjectException

        try:
            return self._repository.get_release(_tag(name))
        except UnknownObjectException:
            return None

    def _create(self, name: str) -> "GitRelease":
        from github import GithubException

        tag, about = _tag(name), "For devices: docs/devices.md"
        try:
            return self._repository.create_git_release(tag, tag, about, prerelease=True, make_latest="false")
        except GithubException as error:
            if error.status != 422 or not (there := self._release(name)):  # made by another process meanwhile
                raise
            return there


def _delete(asset: "GitReleaseAsset") -> None:
    """Deletes a file, unless another process was faster."""
    from github import UnknownObjectException

    with contextlib.suppress(UnknownObjectException):
        asset.delete_asset()


def _tag(name: str) -> str:
    return os.path.dirname(name).replace("/", "-")


def _assets(release: "GitRelease") -> "dict[str, GitReleaseAsset]":
    """Returns a release's files by name, as GitHub has them now."""
    return {asset.name: asset for asset in release.get_assets()}
