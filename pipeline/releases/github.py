"""Models released on GitHub: files are uploaded to a draft, which is published when all have arrived."""

import contextlib
import datetime
import io
import json
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pipeline import retry
from pipeline.errors import BrokenRelease, GitHubRefused, ReleaseNotFound
from pipeline.github import client
from pipeline.github.client import github_errors
from pipeline.github.hosts import InvalidResponse
from pipeline.releases.archive import ARCHIVE
from pipeline.releases.base import Releases, newest_first
from pipeline.releases.record import DEVICE_MODEL, LARGEST_RECORD, RECORD, Release

if TYPE_CHECKING:
    from github import GithubException
    from github.GitRelease import GitRelease
    from github.GitReleaseAsset import GitReleaseAsset

DRAFT_LIFETIME = datetime.timedelta(hours=1)  # an older draft was left by a killed process
MOST_TAKEN = 10  # numbers that are tried in turn: each costs an upload
LONGEST_TEXT = 100_000  # characters; GitHub accepts 125,000

log = logging.getLogger(__name__)


class _TagTaken(Exception):
    """GitHub does not publish another release under this tag."""


class GitHubReleases(Releases):
    """The releases of a repository. Publishing reserves the tag, because GitHub publishes a tag once.

    A release that a person marks as a prerelease is no longer listed, so it is not the current model; it keeps its tag,
    and its training is not released again. The same holds for one turned back into a draft, which is not found either.

    An HTML comment in a release's text has its identity, which saves reading every record, and the attempt that a
    draft belongs to. A call whose answer was lost may leave two drafts; `_sweep` deletes both.
    """

    def __init__(self, name: str, token: str):
        from pipeline.releases.github_files import Files

        self.address = f"github:{name}"
        self._repository = client.repository(name, token)
        self._files = Files(token)
        self._taken_by_others: list[str] = []  # tags taken by other processes, which GitHub's lists may not show yet

    def tags(self) -> list[str]:
        with github_errors(f"Listing the releases in {self.address}"):
            return [release.tag_name for release in self._published() if _complete(release) and not release.prerelease]

    def _taken(self) -> list[str]:
        with github_errors(f"Listing the tags in {self.address}"):
            return newest_first({*self._tags(), *(release.tag_name for release in self._published())})

    def _record(self, tag: str) -> bytes:
        with github_errors(f"Reading release {tag} in {self.address}"):
            asset = self._asset(tag, RECORD)
            if asset is None:
                raise ReleaseNotFound(tag, self.address)
            if asset.size > LARGEST_RECORD:
                raise BrokenRelease(tag, f"{RECORD} has {asset.size:,} bytes")
            record = io.BytesIO()
            self._files.download(asset, record)
            return record.getvalue()

    @contextlib.contextmanager
    def _file(self, tag: str, name: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile(prefix="spanloop-", suffix=f"-{name}") as file:
            with github_errors(f"Downloading release {tag} from {self.address}"):
                asset = self._asset(tag, name)
                if asset is None:
                    raise BrokenRelease(tag, f"{name} is missing")
                self._files.download(asset, file)
            file.flush()
            yield file.name

    def _find(self, identity: str) -> Release | None:
        with github_errors(f"Searching the releases in {self.address} for this training"):
            # the comment is missing where a person edited the text
            likely = [of.tag_name for of in self._published() if _identity(of) in (identity, None) and _complete(of)]
        for tag in [*self._taken_by_others, *likely]:
            with contextlib.suppress(BrokenRelease, ReleaseNotFound):
                if (there := self.get(tag)).identity == identity:
                    return there
        return None

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # GitHub lets one process publish a tag

    def _packing_folder(self) -> contextlib.AbstractContextManager[str]:
        return tempfile.TemporaryDirectory(prefix="spanloop-")

    def _release(self, folder: str, release: Release, text: str) -> bool:
        from github import GithubException

        attempt = secrets.token_hex(8)
        body = f"{text[:LONGEST_TEXT]}\n\n{_Comment(release.identity, attempt, _now())}\n".lstrip()
        doing = f"Releasing {release.tag} in {self.address}"
        try:
            with github_errors(doing):
                target = self._target(release.commit)
                try:
                    self._publish_draft(folder, release, body, target, doing)
                except GithubException as error:
                    if not target or error.status not in (403, 404):
                        raise
                    # A tag at a commit whose workflow files differ from the default branch's needs the permission
                    # "Workflows: write", which github.token never has: https://github.com/cli/cli/issues/9514.
                    log.warning(
                        "%s: GitHub refuses a tag at commit %s (%s), so it is at the default branch; %s has the commit",
                        doing,
                        release.commit,
                        error.status,
                        RECORD,
                    )
                    self._publish_draft(folder, release, body, {}, doing)
                return True
        except _TagTaken:
            self._taken_by_others.append(release.tag)
            return False
        finally:
            self._sweep(attempt)

    def _publish_draft(self, folder: str, release: Release, body: str, target: Mapping[str, str], doing: str) -> None:
        """Creates a draft, uploads its files and publishes it. Raises GithubException, or _TagTaken."""
        from github import GithubException

        try:
            draft = self._repository.create_git_release(release.tag, release.tag, body, draft=True, **target)
            self._fill(draft, [os.path.join(folder, name) for name in [*release.files, RECORD]], doing)
            draft.update_release(release.tag, body, draft=False, tag_name=release.tag)
        except GithubException as error:
            # already_exists: the tag of a published release; custom: that of a deleted immutable one, for ever
            # (https://github.com/github-community-projects/ospo-reusable-workflows/issues/83). No list of codes exists.
            if not _refuses(error, "tag_name") or len(self._taken_by_others) >= MOST_TAKEN:
                raise
            raise _TagTaken from error

    def _target(self, commit: str) -> dict[str, str]:
        """Returns the tag's target: the commit if GitHub has it, otherwise nothing, which means the default branch."""
        from github import GithubException

        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            return {}
        try:
            self._repository.get_git_commit(commit)
        except GithubException as error:
            if error.status not in (404, 409, 422):  # unknown; an empty repository; not a commit
                raise
            return {}
        return {"target_commitish": commit}

    def _fill(self, draft: "GitRelease", paths: list[str], doing: str) -> None:
        """Uploads files, and again those that did not arrive, so that a lost answer makes no difference."""
        assets: dict[str, GitReleaseAsset] = {}
        for attempt in retry.attempts(retry.RELEASE_FILE, GitHubRefused):
            with attempt:
                for path in _missing(assets, paths):
                    self._replace(draft, assets.get(os.path.basename(path)), path)
                assets = {asset.name: asset for asset in draft.get_assets()}
                if missing := _missing(assets, paths):
                    names = ", ".join(map(os.path.basename, missing))
                    raise GitHubRefused(
                        doing, f"{names} did not arrive as sent in {retry.RELEASE_FILE.attempts} attempts. Retry later"
                    )

    def _replace(self, draft: "GitRelease", asset: "GitReleaseAsset | None", path: str) -> None:
        """Uploads a file, after deleting an asset of its name that differs."""
        from github import GithubException, UnknownObjectException

        if asset:
            with contextlib.suppress(UnknownObjectException):
                asset.delete_asset()
        try:
            self._files.upload(draft, path)
        except GithubException as error:
            if not _refuses(error, "name", "already_exists"):
                raise

    def _sweep(self, attempt: str) -> None:
        """Deletes the drafts of this attempt and those of killed processes; ignores failures."""
        from github import GithubException
        from requests import RequestException

        with contextlib.suppress(GithubException, RequestException, InvalidResponse):
            releases = list(self._repository.get_releases())
            published = {release.tag_name for release in releases if not release.draft}
            for release in releases:
                made = _Comment.of(release)
                left = made and release.draft and (made.attempt == attempt or _now() - made.begun > DRAFT_LIFETIME)
                if left and made.attempt != attempt and release.tag_name not in published:
                    # a tag without a release: a person turned the release back into this draft
                    left = release.tag_name not in self._tags()
                # GitHub's list may lag behind and show a release as a draft that was published since
                if left and self._repository.get_release(release.id).draft:
                    release.delete_release()

    def _tags(self) -> set[str]:
        """Returns the git tags model-N."""
        refs = self._repository.get_git_matching_refs("tags/model-")
        return {ref.ref.removeprefix("refs/tags/") for ref in refs}

    def _published(self) -> "list[GitRelease]":
        """Returns the published releases with a tag model-N, newest first."""
        found = {release.tag_name: release for release in self._repository.get_releases() if not release.draft}
        return [found[tag] for tag in newest_first(found)]

    def _asset(self, tag: str, name: str) -> "GitReleaseAsset | None":
        """Returns a file of a published release. Raises ReleaseNotFound."""
        from github import UnknownObjectException

        try:
            release = self._repository.get_release(tag)
        except UnknownObjectException:
            raise ReleaseNotFound(tag, self.address) from None
        return next((asset for asset in release.assets if (asset.name, asset.state) == (name, "uploaded")), None)


_ESCAPED = "\\u003e"  # a ">" in JSON, which could end the comment


class _Comment(NamedTuple):
    """The HTML comment at the end of a release's text."""

    identity: str
    attempt: str
    begun: datetime.datetime  # GitHub shows only the time of the commit

    def __str__(self) -> str:
        fields = json.dumps([self.identity, self.attempt, f"{self.begun:%Y-%m-%dT%H:%M:%SZ}"])
        return f"<!-- spanloop: {fields.replace('>', _ESCAPED)} -->"

    @classmethod
    def of(cls, release: "GitRelease") -> "_Comment | None":
        """Returns the comment of a release, None without a readable one."""
        found = re.search(r"<!-- spanloop: (.+) -->\s*$", release.body or "")
        try:
            identity, attempt, begun = json.loads(found[1]) if found else ()
            return cls(identity, attempt, datetime.datetime.strptime(begun, "%Y-%m-%dT%H:%M:%S%z"))
        except (ValueError, TypeError):
            return None


def _identity(release: "GitRelease") -> str | None:
    made = _Comment.of(release)
    return made.identity if made else None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _missing(assets: "dict[str, GitReleaseAsset]", paths: list[str]) -> list[str]:
    """Returns the paths of the files of which GitHub has no equal asset."""
    from pipeline.releases.github_files import arrived

    return [path for path in paths if not arrived(assets.get(os.path.basename(path)), path)]


def _complete(release: "GitRelease") -> bool:
    there = {asset.name for asset in release.assets if asset.state == "uploaded"}
    return RECORD in there and not there.isdisjoint({ARCHIVE, DEVICE_MODEL})


def _refuses(error: "GithubException", field: str, code: str = "") -> bool:
    """True when GitHub refused a field, for the reason `code` if given."""
    details = error.data.get("errors") if isinstance(error.data, dict) else None
    fields = [(detail.get("field"), detail.get("code")) for detail in details or () if isinstance(detail, dict)]
    return error.status == 422 and any(name == field and code in ("", reason) for name, reason in fields)
