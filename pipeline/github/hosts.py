"""The hosts of GitHub's API, which alone are sent the token."""

import os
import urllib.parse


class InvalidResponse(Exception):
    """A response of GitHub, or of a proxy before it, that cannot be used."""


def api_url() -> str:
    """Returns the address of GitHub's API without a slash at its end."""
    return (os.environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")


def is_of_api(address: str) -> bool:
    """True for an address on the API's host, with its scheme and port."""
    return _origin(address) == _origin(api_url())


def check_address(address: str) -> None:
    """Raises InvalidResponse for an address that must not be sent the token.

    Files are uploaded to the API's host on GitHub Enterprise Server, elsewhere to one beside it: uploads.github.com,
    uploads.SUBDOMAIN.ghe.com.
    https://docs.github.com/en/rest/releases/assets#upload-a-release-asset
    https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency/network-details-for-ghecom
    """
    scheme, host, port = _origin(api_url())
    uploads = f"uploads.{host.removeprefix('api.')}" if host.startswith("api.") else host
    if _origin(address) not in {(scheme, host, port), (scheme, uploads, port)}:
        raise InvalidResponse(f"GitHub's response names an address on another host: {ascii(address):.100}")


def _origin(address: str) -> tuple[str, str, int | None]:
    """Returns scheme, host and port."""
    try:
        parts = urllib.parse.urlsplit(address)
        return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", "", None
