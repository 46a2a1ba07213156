"""Releases, their files, and the git tags that publishing creates."""

import datetime
import hashlib
import itertools
import secrets
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.emulators.github.answers import AuthorizedRequest, GitHubRefused, answer, invalid, not_found, nothing
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Caller, Request, Response, Route

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub

LONGEST = 125_000  # characters of a release's text
UPLOADS = "uploads.github.com"
DOWNLOADS = "release-assets.githubusercontent.com"
PAGES = "github.com"
FILE = "application/octet-stream"


class Releases:
    """Releases by ID, published and drafts. `tags` maps git tags to commits; `commits` are the pushed ones."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self._ids = itertools.count(1)
        self._releases: dict[int, dict[str, Any]] = {}
        self._assets: dict[int, dict[int, dict[str, Any]]] = {}  # of each release
        self._contents: dict[int, bytes] = {}
        self._signatures: dict[str, int] = {}  # {signature: asset that it permits to download}
        self.head = secrets.token_hex(20)
        self.commits = {self.head}
        self.tags: dict[str, str] = {}
        self.other_workflows: set[str] = set()  # commits whose workflow files differ from the default branch's
        self.workflows_refusal = ("create", 403)  # call and status that refuse a tag at such a commit
        self.immutable = False  # True: published releases are immutable, and their tags are never used again
        self._used: set[str] = set()  # tags of immutable releases
        self.failing_uploads = 0  # number of next uploads that fail and leave an empty file
        self.short_downloads = 0  # number of next downloads that are truncated
        self.unlisted: set[str] = set()  # tags of published releases that lists do not show yet
        self.lagging = False  # True: lists still show published releases as drafts

    # For tests

    def published(self) -> dict[str, dict[str, bytes]]:
        """The files of all published releases, by tag."""
        return {release["tag_name"]: self._files(release) for release in self._all(drafts=False)}

    def drafts(self) -> list[dict[str, bytes]]:
        """The files of all drafts."""
        return [self._files(release) for release in self._all(drafts=True)]

    def body(self, tag: str) -> str:
        return self._tagged(tag)["body"]

    def add(self, tag: str, files: Mapping[str, bytes], body: str = "", draft: bool = False) -> None:
        """Adds a release made by another client."""
        release = self._make({"tag_name": tag, "body": body, "draft": draft})
        for name, data in files.items():
            self._store(release["id"], name, data)

    def put(self, tag: str, name: str, data: bytes) -> None:
        """Replaces or adds a file of a published release."""
        self.remove(tag, name)
        self._store(self._tagged(tag)["id"], name, data)

    def edit(self, tag: str, body: str) -> None:
        """Replaces the text of a published release."""
        self._tagged(tag)["body"] = body

    def mark(self, tag: str, **fields: bool) -> None:
        """Marks a published release as a prerelease or a draft, as a person does on its page."""
        self._tagged(tag).update(fields)

    def discard(self, tag: str) -> None:
        """Deletes a published release and its tag."""
        number = self._tagged(tag)["id"]
        del self._releases[number], self._assets[number], self.tags[tag]

    def damage(self, tag: str, name: str, data: bytes) -> None:
        """Changes the bytes of a file without changing its digest."""
        self._contents[self._named(self._tagged(tag)["id"], name)] = data

    def remove(self, tag: str, name: str) -> None:
        """Deletes a file of a published release if it exists."""
        number = self._tagged(tag)["id"]
        self._assets[number].pop(self._named(number, name), None)

    # Endpoints

    def endpoints(self) -> list[Endpoint]:
        releases, asset = f"{REPOSITORY}/releases", f"{REPOSITORY}/releases/assets/{{asset_id}}"
        release, read, write = f"{releases}/{{release_id}}", "contents:read", "contents:write"
        return [
            Endpoint("GET", releases, "repos/list-releases", read, self.search),
            Endpoint("POST", releases, "repos/create-release", write, self.create),
            Endpoint("GET", f"{releases}/latest", "repos/get-latest-release", read, self.get_latest),
            Endpoint("GET", f"{releases}/tags/{{tag}}", "repos/get-release-by-tag", read, self.get_by_tag),
            Endpoint("GET", release, "repos/get-release", read, self.get),
            Endpoint("PATCH", release, "repos/update-release", write, self.update),
            Endpoint("DELETE", release, "repos/delete-release", write, self.delete),
            Endpoint("GET", f"{release}/assets", "repos/list-release-assets", read, self.list_assets),
            Endpoint("POST", f"{release}/assets", "repos/upload-release-asset", write, self.upload),
            Endpoint("GET", asset, "repos/get-release-asset", read, self.get_asset),
            Endpoint("PATCH", asset, "repos/update-release-asset", write, self.update_asset),
            Endpoint("DELETE", asset, "repos/delete-release-asset", write, self.delete_asset),
            Endpoint("GET", f"{REPOSITORY}/git/matching-refs/{{ref}}", "git/list-matching-refs", read, self.list_refs),
            Endpoint("GET", f"{REPOSITORY}/git/commits/{{commit_sha}}", "git/get-commit", read, self.get_commit),
        ]

    @staticmethod
    def routes(github: "GitHub") -> list[Route]:
        """The routes of files outside of the API, which need no token: a file's public address, and its signed one."""

        def public(request: Request, caller: Caller, **names: str) -> Response:
            return github.releases.redirect(request, **names)

        def signed(request: Request, caller: Caller, asset_id: str) -> Response:
            return github.releases.download(request, asset_id)

        return [
            Route("GET", "/{owner}/{repo}/releases/download/{tag}/{name}", "redirect", public, authenticated=False),
            Route("GET", "/github-production-release-asset/{asset_id}", "download", signed, authenticated=False),
        ]

    def search(self, call: AuthorizedRequest) -> Response:
        found = [*(self._all(drafts=True) if call.may("contents", "write") else []), *self._all(drafts=False)]
        shown = [release for release in found if release["draft"] or release["tag_name"] not in self.unlisted]
        return call.page([self._resource(release | {"draft": True} if self.lagging else release) for release in shown])

    def create(self, call: AuthorizedRequest) -> Response:
        given = call.fields("Release", tag_name_=str, generate_release_notes=bool, **CHANGEABLE)
        self._may_tag(call, given.get("target_commitish") or "", "create")
        return answer(self._resource(self._make(given)), 201)

    def get_latest(self, call: AuthorizedRequest) -> Response:
        """The newest release that is neither a draft nor a prerelease.

        https://docs.github.com/en/rest/releases/releases#get-the-latest-release
        """
        found = [release for release in self._all(drafts=False) if not release["prerelease"]]
        if not found:
            raise not_found()
        return answer(self._resource(max(found, key=lambda release: (release["published_at"], release["id"]))))

    def get_by_tag(self, call: AuthorizedRequest, tag: str) -> Response:
        return answer(self._resource(self._tagged(tag)))

    def get(self, call: AuthorizedRequest, release_id: str) -> Response:
        return answer(self._resource(self._visible(call, release_id)))

    def update(self, call: AuthorizedRequest, release_id: str) -> Response:
        release = self._release(release_id)
        given = call.fields("Release", tag_name=str, **CHANGEABLE)
        self._may_tag(call, (release | given)["target_commitish"], "publish")
        release.update(self._checked(release | given))
        return answer(self._resource(release))

    def _may_tag(self, call: AuthorizedRequest, target: str, step: str) -> None:
        """Refuses a tag at a commit with other workflow files to a token that may not change workflows.

        https://github.com/cli/cli/issues/9514, https://github.com/googleapis/release-please-action/issues/878
        """
        at, status = self.workflows_refusal
        if target in self.other_workflows and step == at and not call.may("workflows", "write"):
            accepted = {"X-Accepted-GitHub-Permissions": "contents=write; contents=write,workflows=write"}
            if status == 404:
                raise not_found()
            raise GitHubRefused(status, "Resource not accessible by integration", headers=accepted)

    def delete(self, call: AuthorizedRequest, release_id: str) -> Response:
        number = self._release(release_id)["id"]
        del self._releases[number], self._assets[number]
        return nothing()

    def list_assets(self, call: AuthorizedRequest, release_id: str) -> Response:
        return call.page(list(self._assets[self._visible(call, release_id)["id"]].values()))

    def _visible(self, call: AuthorizedRequest, release_id: str) -> dict[str, Any]:
        release = self._release(release_id)
        if release["draft"] and not call.may("contents", "write"):
            raise not_found()
        return release

    def upload(self, call: AuthorizedRequest, release_id: str) -> Response:
        query, request = call.request.parameters(), call.request
        if request.host != UPLOADS or query.keys() - {"name", "label"}:
            raise not_found()
        number = self._release(release_id)["id"]
        name = query.get("name", "")
        if not name or not request.headers.get("content-type"):
            raise invalid("ReleaseAsset", "content_type" if name else "name", "missing_field")
        if self._named(number, name):
            raise invalid("ReleaseAsset", "name", "already_exists")
        if not request.body:
            raise GitHubRefused(400, "Bad Content-Length")
        if self.failing_uploads:
            self.failing_uploads -= 1
            self._store(number, name, b"", "starter")
            raise GitHubRefused(502, "Server Error")
        return answer(self._store(number, name, request.body, kind=request.headers["content-type"]), 201)

    def get_asset(self, call: AuthorizedRequest, asset_id: str) -> Response:
        release, asset = self._asset(asset_id)
        if release["draft"] and not call.may("contents", "write"):
            raise not_found()
        if FILE not in call.request.headers.get("accept", ""):
            return answer(asset)
        return self._signed(asset)

    def redirect(self, request: Request, owner: str, repo: str, tag: str, name: str) -> Response:
        """https://docs.github.com/en/repositories/releasing-projects-on-github/linking-to-releases"""
        if request.host == PAGES and f"{owner}/{repo}".lower() == self._github.repository:
            for release in self._all(drafts=False):
                for asset in self._assets[release["id"]].values():
                    if (release["tag_name"], asset["name"], asset["state"]) == (tag, name, "uploaded"):
                        return self._signed(asset)
        return Response(404, b"Not Found")

    def _signed(self, asset: dict[str, Any]) -> Response:
        """Redirects to a file's signed address."""
        signature = secrets.token_urlsafe(24)
        self._signatures[signature] = asset["id"]
        query = urllib.parse.urlencode({"sp": "r", "rscd": f"attachment; filename={asset['name']}", "sig": signature})
        where = f"https://{DOWNLOADS}/github-production-release-asset/{asset['id']}?{query}"
        return Response(302, headers={"Location": where})

    def download(self, request: Request, asset_id: str) -> Response:
        if "authorization" in request.headers:
            return Response(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
        asset = self._signatures.get(request.parameters().get("sig", ""))
        if request.host != DOWNLOADS or asset is None or str(asset) != asset_id or asset not in self._contents:
            return Response(404, b"<Error><Code>BlobNotFound</Code></Error>")
        data = self._contents[asset]
        if self.short_downloads:
            self.short_downloads -= 1
            data = data[: len(data) // 2]
        return Response(200, data, {"Content-Type": FILE})

    def update_asset(self, call: AuthorizedRequest, asset_id: str) -> Response:
        release, asset = self._asset(asset_id)
        given = call.fields("ReleaseAsset", name=str, label=str, state=str)
        if self._named(release["id"], given.get("name", "")) not in (0, asset["id"]):
            raise invalid("ReleaseAsset", "name", "already_exists")
        asset.update(given)
        return answer(asset)

    def delete_asset(self, call: AuthorizedRequest, asset_id: str) -> Response:
        release, asset = self._asset(asset_id)
        del self._assets[release["id"]][asset["id"]]
        return nothing()

    def list_refs(self, call: AuthorizedRequest, ref: str) -> Response:
        found = [(f"refs/tags/{tag}", sha) for tag, sha in sorted(self.tags.items()) if tag not in self.unlisted]
        found.append((f"refs/heads/{self._github.default_branch}", self.head))
        refs = [
            {
                "ref": name,
                "url": self._github.address(f"/git/{name}"),
                "object": {"type": "commit", "sha": sha, "url": self._github.address(f"/git/commits/{sha}")},
            }
            for name, sha in found
            if name.startswith(f"refs/{ref}")
        ]
        return call.page(refs)

    def get_commit(self, call: AuthorizedRequest, commit_sha: str) -> Response:
        if commit_sha not in self.commits:
            raise not_found()
        return answer({"sha": commit_sha, "url": self._github.address(f"/git/commits/{commit_sha}")})

    # Storage

    def _make(self, given: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        address = self._github.address(f"/releases/{number}")
        release = self._checked(
            {
                "id": number,
                "url": address,
                "assets_url": f"{address}/assets",
                "upload_url": f"https://{UPLOADS}/repos/{self._github.repository}/releases/{number}/assets{{?name,label}}",
                "tag_name": given["tag_name"],
                "target_commitish": given.get("target_commitish") or self._github.default_branch,
                "name": given.get("name") or "",
                "body": given.get("body") or "",
                "draft": given.get("draft") or False,
                "prerelease": given.get("prerelease") or False,
                "created_at": "2026-01-01T00:00:00Z",  # on GitHub the time of the commit
                "published_at": None,
            }
        )
        self._releases[number], self._assets[number] = release, {}
        return release

    def _checked(self, release: dict[str, Any]) -> dict[str, Any]:
        """Validates a release and creates the tag if it is published."""
        tag, target = release["tag_name"], release["target_commitish"]
        if not tag or tag.startswith(("-", "/", ".")) or any(part in tag for part in ("..", " ", "~", "^", ":", "\\")):
            raise invalid("Release", "tag_name")
        if target != self._github.default_branch and target not in self.commits:
            raise invalid("Release", "target_commitish")
        if len(release["body"]) > LONGEST:
            raise invalid("Release", "body", "too_long")
        if not release["draft"]:
            if any(other["tag_name"] == tag and other["id"] != release["id"] for other in self._all(drafts=False)):
                raise invalid("Release", "tag_name", "already_exists")
            if tag in self._used and not release["published_at"]:
                # https://github.com/github-community-projects/ospo-reusable-workflows/issues/83
                used = {"field": "tag_name", "message": "tag_name was used by an immutable release"}
                valid = {"message": "Published releases must have a valid tag"}
                errors = [{"resource": "Release", "code": "custom"} | error for error in (used, valid)]
                raise GitHubRefused(422, "Validation Failed", errors)
            self._used |= {tag} if self.immutable else set()
            self.tags.setdefault(tag, self.head if target == self._github.default_branch else target)
            release["published_at"] = release["published_at"] or _now()
        page = f"untagged-{release['id']:020x}" if release["draft"] else tag
        release["html_url"] = self._github.page(f"/releases/tag/{page}")
        return {name: value for name, value in release.items() if name not in ("make_latest", "generate_release_notes")}

    def _store(self, release: int, name: str, data: bytes, state: str = "uploaded", kind: str = FILE) -> dict[str, Any]:
        number = next(self._ids)
        self._contents[number] = data
        asset = {
            "id": number,
            "url": self._github.address(f"/releases/assets/{number}"),
            "browser_download_url": self._github.page(f"/releases/download/{release}/{name}"),
            "name": name,
            "label": "",
            "state": state,
            "content_type": kind,
            "size": len(data),
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}" if state == "uploaded" else None,
            "download_count": 0,
            "created_at": _now(),
            "updated_at": _now(),
        }
        self._assets[release][number] = asset
        return asset

    def _all(self, drafts: bool) -> list[dict[str, Any]]:
        """All drafts or all published releases, newest first."""
        return [release for release in reversed(list(self._releases.values())) if release["draft"] == drafts]

    def _resource(self, release: dict[str, Any]) -> dict[str, Any]:
        return release | {"assets": list(self._assets[release["id"]].values())}

    def _files(self, release: dict[str, Any]) -> dict[str, bytes]:
        return {asset["name"]: self._contents[asset["id"]] for asset in self._assets[release["id"]].values()}

    def _release(self, number: str) -> dict[str, Any]:
        if not number.isdigit() or int(number) not in self._releases:
            raise not_found()
        return self._releases[int(number)]

    def _tagged(self, tag: str) -> dict[str, Any]:
        for release in self._all(drafts=False):
            if release["tag_name"] == tag:
                return release
        raise not_found()

    def _asset(self, number: str) -> tuple[dict[str, Any], dict[str, Any]]:
        for release, assets in self._assets.items():
            if number.isdigit() and int(number) in assets:
                return self._releases[release], assets[int(number)]
        raise not_found()

    def _named(self, release: int, name: str) -> int:
        """The ID of a release's file, 0 when it does not exist."""
        return next((number for number, asset in self._assets[release].items() if asset["name"] == name), 0)


CHANGEABLE = {
    "target_commitish": str,
    "name": str,
    "body": str,
    "draft": bool,
    "prerelease": bool,
    "make_latest": str,
}


def _now() -> str:
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
