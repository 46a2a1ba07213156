"""Verifies what a release holds and who vouches for it."""

import os
import tempfile

import click

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.errors import NoRelease, UsageError
from pipeline.formatting import counted, listed
from pipeline.releases import attestations, verification
from pipeline.releases.base import Releases
from pipeline.releases.factory import GITHUB, releases_of

GROUP = "models"


@command
@click.argument("tag", required=False)
@click.option("--to", "folder", metavar="DIR", help="Keep the verified files in DIR/TAG.")
@click.option(
    "--bundle", metavar="FILE", help="Attestations, for a machine without network: `gh attestation download`."
)
@click.option("--trusted-root", metavar="FILE", help="Keys for --bundle: `gh attestation trusted-root`.")
@click.option("--unattested", is_flag=True, help="Verify the releases that have no attestation, instead of TAG.")
@click.option("--dry-run", is_flag=True, help="With --unattested: name them and download nothing.")
def verify(
    config: Config,
    tag: str | None,
    folder: str | None,
    bundle: str | None,
    trusted_root: str | None,
    unattested: bool,
    dry_run: bool,
) -> Outcome:
    """Downloads the release TAG, by default the newest, and checks all that can be checked of it.

    That is its model.json, the checksum of each file and the operations of its model. For a release on GitHub also that
    the workflow attest.yml of its repository vouches for the models, where the program gh is installed.
    """
    if (unattested and (tag or bundle)) or (dry_run and not unattested):
        raise UsageError("--unattested chooses releases itself, and --dry-run belongs to it: leave out the others.")
    repository = config.releases.removeprefix(GITHUB) if config.releases.startswith(GITHUB) else ""
    releases = releases_of(config)
    if not unattested:
        options = [f"--bundle={bundle}"] * bool(bundle) + [f"--custom-trusted-root={trusted_root}"] * bool(trusted_root)
        return one(releases, tag or newest(releases), folder, repository, options)
    if not repository:
        raise UsageError(f"RELEASES is {config.releases}, but only GitHub keeps attestations: leave out --unattested.")
    tags = attestations.unattested(releases, repository, config.github_token)
    if not dry_run:
        with tempfile.TemporaryDirectory(prefix="spanloop-") as scratch:
            for name in tags:
                verification.verify(releases, name, folder or scratch)
    done = "Without attestation" if dry_run else "Verified, and without attestation so far"
    return Outcome(f"{done}: {listed(tags)}." if tags else "Every release has an attestation.", releases=tags)


def one(releases: Releases, tag: str, folder: str | None, repository: str, options: list[str]) -> Outcome:
    """Verifies one release, and its attestations where it has a repository."""
    with tempfile.TemporaryDirectory(prefix="spanloop-") as scratch:
        place = folder or scratch
        release = verification.verify(releases, tag, place)
        signer = attestations.verify(repository, release, os.path.join(place, tag), options) if repository else ""
    text = f"{tag}: the checksums of {counted(len(release.files), 'file')} are right, and its model only computes."
    if signer:
        text += f"\nIts models are attested by {signer}."
    elif repository:
        text += "\nWho vouches for it was not checked, which needs the program gh: https://cli.github.com"
    return Outcome(text, releases=[tag], files=dict(release.files), attested=bool(signer) if repository else None)


def newest(releases: Releases) -> str:
    """Returns the tag of the newest release. Raises NoRelease."""
    for tag in releases.tags():
        return tag
    raise NoRelease(releases.address)
