"""Files of GitHub releases, streamed: PyGithub holds downloads in memory and uploads without a timeout."""

import os
import urllib.parse
from typing import TYPE_CHECKING, BinaryIO

import requests
from github.Requester import Requester
from requests.adapters import HTTPAdapter

from pipeline import retry
from pipeline.github.client import TIMEOUT
from pipeline.github.hosts import InvalidResponse, check_address
from pipeline.github.retry import retry_policy
from pipeline.releases.archive import sha256

if TYPE_CHECKING:
    from github.GitRelease import GitRelease
    from github.GitReleaseAsset import GitReleaseAsset

PIECE = 1 << 20


class Files:
    """Uploads and downloads with a token, which only GitHub's API and its host for uploads are sent.

    InvalidResponse is raised where GitHub's responses name another address for it.
    """

    def __init__(self, token: str):
        def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        self._session = _Session()
        self._session.auth = authenticate
        self._session.headers["User-Agent"] = "spanloop"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry_policy()))

    def upload(self, release: "GitRelease", path: str) -> None:
        """Adds a file to a release. Raises GithubException, also where the release has a file of this name."""
        query = urllib.parse.urlencode({"name": os.path.basename(path)})
        address = f"{release.upload_url.partition('{')[0]}?{query}"
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/vnd.github+json"}
        check_address(address)
        with open(path, "rb") as file:
            _check(self._session.post(address, data=file, headers=headers, timeout=TIMEOUT, allow_redirects=False))

    def download(self, asset: "GitReleaseAsset", file: BinaryIO) -> None:
        """Downloads an asset to an empty file. Raises GithubException, requests.RequestException."""
        cut = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        for attempt in retry.attempts(retry.RELEASE_FILE, *cut):
            with attempt:
                self._download_once(asset, file)

    def _download_once(self, asset: "GitReleaseAsset", file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        check_address(asset.url)
        with self._session.get(asset.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            _check(answer)
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                if file.tell() > asset.size:
                    break
        if file.tell() != asset.size:  # no library checks the length
            raise requests.ConnectionError(f"{asset.name} ended after {file.tell():,} of {asset.size:,} bytes")


class _Session(requests.Session):
    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drops the token on a redirect to another host, and unlike requests sends it nothing of netrc either."""
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)


def arrived(asset: "GitReleaseAsset | None", path: str) -> bool:
    """True when GitHub has the whole file."""
    if asset is None or asset.state != "uploaded" or asset.size != os.path.getsize(path):
        return False
    return asset.digest in (None, f"sha256:{sha256(path)}")  # GitHub Enterprise Server has no digests


def _check(answer: requests.Response) -> None:
    if 300 <= answer.status_code < 400:
        raise InvalidResponse(f"GitHub redirects from {answer.url.partition('?')[0]}, which it named itself")
    if answer.status_code >= 400:
        try:
            body = answer.json()
        except ValueError:
            body = {"message": answer.reason}
        raise Requester.createException(answer.status_code, dict(answer.headers), body)
