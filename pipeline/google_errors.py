"""Causes that lie outside of a call to Google Cloud, each with one message whatever call and library met it.

Credentials, the network, and APIs that the project has not enabled.
"""

import re

from pipeline.errors import ApiDisabled, NoCredentials, NoNetwork, SpanloopError

# "NAME API has not been used in project NUMBER before or it is disabled. Enable it by visiting https://... then retry",
# with the host of the API in the address: https://cloud.google.com/apis/docs/troubleshooting#api_not_enabled
_DISABLED = re.compile(r"before or it is disabled")
_HOST = re.compile(r"[a-z]+\.googleapis\.com")
# Of gRPC, which fetches tokens and connects on its own, and only hands on texts.
_NO_TOKEN = "Getting metadata from plugin failed"
_NO_CONNECTION = re.compile(
    r"failed to connect to all addresses|DNS resolution failed|Connection refused|Name or service not known"
    r"|Temporary failure in name resolution|Network is unreachable|Max retries exceeded|HTTP proxy returned"
)


def explain(error: BaseException) -> SpanloopError | None:
    """Returns NoCredentials, NoNetwork or ApiDisabled for an error of a library, None where it has another cause."""
    from google.auth import exceptions as auth

    text = message(error)
    if isinstance(error, auth.TransportError) or _NO_CONNECTION.search(text):
        return NoNetwork()
    if isinstance(error, auth.GoogleAuthError) or _NO_TOKEN in text:
        return NoCredentials(text.rpartition(f"{_NO_TOKEN} with error: ")[2])
    if api := disabled_api(text):
        return ApiDisabled(api)
    return None


def disabled_api(text: str) -> str:
    """Returns the host of the API that a project has not enabled, by a service's message; "" for any other message."""
    host = _HOST.search(text)
    return host[0] if host and _DISABLED.search(text) else ""


def message(error: BaseException) -> str:
    """Returns what an error says, without the details and causes that libraries append to it."""
    said = getattr(error, "message", "") or next((each for each in error.args if isinstance(each, str)), str(error))
    return " ".join(str(said).split()) or type(error).__name__
