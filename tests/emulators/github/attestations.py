"""Attestations: which files a workflow has vouched for."""

import re
from typing import TYPE_CHECKING

from tests.emulators.github.answers import AuthorizedRequest, answer, invalid, not_found
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.github.service import GitHub


class Attestations:
    """The attested files, by sha256; nothing is signed."""

    def __init__(self, github: "GitHub"):
        self._github = github
        self.attested: set[str] = set()
        self.empty_list = False  # how it answers for a file without one: a list without elements, or 404

    def endpoints(self) -> list[Endpoint]:
        # https://docs.github.com/en/rest/repos/attestations#list-attestations
        path = f"{REPOSITORY}/attestations/{{subject_digest}}"
        return [Endpoint("GET", path, "repos/list-attestations", "attestations:read", self.search)]

    def search(self, call: AuthorizedRequest, subject_digest: str) -> Response:
        if not re.fullmatch("sha256:[0-9a-f]{64}", subject_digest):
            raise invalid("Attestation", "subject_digest")
        found = [digest for digest in self.attested if subject_digest == f"sha256:{digest}"]
        if not found and not self.empty_list:
            raise not_found()
        bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}}
        return answer({"attestations": [{"repository_id": 1, "bundle": bundle} for _ in found]})
