"""Opens the place that RELEASES names: a folder, a bucket or GitHub."""

from pipeline.config import Config
from pipeline.releases.base import Releases

GITHUB = "github:"


def open_releases(address: str, token_secret: str = "") -> Releases:
    """Returns the releases at a folder's path, gs://bucket/prefix, or github:owner/name.

    The token for GitHub is $GITHUB_TOKEN, or else the secret `token_secret` (its resource name).
    """
    if address.startswith(GITHUB):
        from pipeline.cloud.secrets import github_token
        from pipeline.releases.github import GitHubReleases

        return GitHubReleases(address.removeprefix(GITHUB), github_token(token_secret))
    if address.startswith("gs://"):
        from pipeline.releases.bucket import BucketReleases

        return BucketReleases(address)
    from pipeline.releases.folder import FolderReleases

    return FolderReleases(address)


def releases_of(config: Config) -> Releases:
    """Returns the releases of the settings, with their token."""
    return open_releases(config.releases, config.release_token_secret)
