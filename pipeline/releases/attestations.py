"""Attestations of released files: signed statements in which a workflow of the repository vouches for a checksum."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from pipeline.errors import NotAttested
from pipeline.github import client
from pipeline.github.hosts import InvalidResponse
from pipeline.releases.base import Releases
from pipeline.releases.record import Release
from pipeline.releases.verification import models_of

WORKFLOW = ".github/workflows/attest.yml"


def unattested(releases: Releases, repository: str, token: str) -> list[str]:
    """Returns the tags of releases of which GitHub keeps no attestation for some model, newest first.

    https://docs.github.com/en/rest/repos/attestations#list-attestations
    """
    from github import UnknownObjectException

    place = client.repository(repository, token)

    def kept(sha256: str) -> bool:
        address = f"{place.url}/attestations/sha256:{sha256}"
        try:
            _, found = place.requester.requestJsonAndCheck("GET", address)
        except UnknownObjectException:  # one of GitHub's answers where it keeps none; the other is an empty list
            return False
        if not isinstance(found, dict) or not isinstance(found.get("attestations"), list):
            raise InvalidResponse(f"GitHub's response has no list of attestations: {address}")
        return bool(found["attestations"])

    missing = []
    for tag in releases.tags():
        release = releases.get(tag)
        with client.github_errors(f"Asking for attestations of release {tag}"):
            if not all(kept(release.files[name]) for name in models_of(release)):
                missing.append(tag)
    return missing


def verify(repository: str, release: Release, folder: str, options: Sequence[str] = ()) -> str:
    """Checks the attestations of a release's models in `folder` with GitHub's program gh, and its `options`.

    Returns the workflow that signed them, or "" where there is no such program. Raises NotAttested.
    https://cli.github.com/manual/gh_attestation_verify
    """
    program = shutil.which("gh")
    if not program:
        return ""
    signer = f"{repository}/{WORKFLOW}"
    for name in models_of(release):
        path = os.path.join(folder, name)
        done = subprocess.run(
            [program, "attestation", "verify", path, "--repo", repository, "--signer-workflow", signer, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"gh ended with {done.returncode}"]
            raise NotAttested(release.tag, name, lines[-1].rstrip("."))
    return signer
