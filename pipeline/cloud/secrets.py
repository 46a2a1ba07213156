"""Secrets, read where they are used and stored nowhere: from the environment, or from Secret Manager."""

import os

from pipeline import google_errors
from pipeline.cloud.calls import read_retry, without_support_warnings
from pipeline.errors import SecretUnreadable


def github_token(secret: str) -> str:
    """Returns the GitHub token: $GITHUB_TOKEN, which workflows set, else the secret of this resource name.

    Returns "" without either, which gives access to what is public. Raises SecretUnreadable.
    """
    return os.environ.get("GITHUB_TOKEN", "") or (read(secret) if secret else "")


def read(name: str) -> str:
    """Returns the secret projects/PROJECT/secrets/NAME/versions/VERSION as text.

    Raises SecretUnreadable, or what google_errors.explain returns.
    """
    with without_support_warnings():
        import google_crc32c
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import secretmanager_v1

    try:
        client = secretmanager_v1.SecretManagerServiceClient()
        payload = client.access_secret_version(name=name, retry=read_retry()).payload
    except (GoogleAPIError, GoogleAuthError) as error:
        raise google_errors.explain(error) or SecretUnreadable(name, google_errors.message(error)) from error
    if google_crc32c.value(payload.data) != payload.data_crc32c:
        raise SecretUnreadable(name, "its checksum does not match: it was damaged in transit")
    try:
        return payload.data.decode().strip()  # without the newline that editors and shells append
    except UnicodeDecodeError:
        # without its cause, which quotes the secret
        raise SecretUnreadable(name, "it is not UTF-8 text") from None
