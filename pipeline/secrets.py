"""Secrets, read where they are used and kept nowhere: from the environment of a workflow, or from Secret Manager."""

from pipeline.cloud_calls import quietly, reading
from pipeline.config import Config
from pipeline.errors import SecretUnreadable


def github_token(config: Config) -> str:
    """Returns the GitHub token: GITHUB_TOKEN of a workflow, else what RELEASE_TOKEN_SECRET names.

    Raises MissingSettings when neither is set, SecretUnreadable.
    """
    if config.github_token:
        return config.github_token
    config.require("release_token_secret")
    return read(config.release_token_secret)


def read(name: str) -> str:
    """Returns the secret projects/PROJECT/secrets/NAME/versions/VERSION as text. Raises SecretUnreadable."""
    with quietly():
        import google_crc32c
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import secretmanager_v1

    try:
        client = secretmanager_v1.SecretManagerServiceClient()
        payload = client.access_secret_version(name=name, retry=reading()).payload
    except (GoogleAPIError, GoogleAuthError) as error:
        raise SecretUnreadable(name, getattr(error, "message", "") or str(error)) from error
    if google_crc32c.value(payload.data) != payload.data_crc32c:
        raise SecretUnreadable(name, "it was damaged on its way")
    try:
        return payload.data.decode().strip()  # an editor's or a shell's newline is no part of it
    except UnicodeDecodeError:
        # without its cause, which quotes the secret
        raise SecretUnreadable(name, "it is no text") from None
