"""Metadata server of a machine: tokens of its service account, without a key.

https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys
"""

import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable

from tests.emulators.oauth import CLOUD_PLATFORM, LIFETIME

FLAVOR = "Metadata-Flavor"
ROOT = "/computeMetadata/v1"


class MetadataServer:
    """The server of machines that run as `account`; `issue(account, scopes)` returns a token."""

    def __init__(self, account: str, project: str, issue: Callable[[str, str], str]):
        self._account, self._project, self._issue = account, project, issue
        metadata = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                found = metadata._answer(url.path.rstrip("/"), dict(urllib.parse.parse_qsl(url.query)))
                asked_rightly = self.headers.get(FLAVOR) == "Google"
                body = ("" if found is None or not asked_rightly else found).encode()
                self.send_response(403 if not asked_rightly else 404 if found is None else 200)
                self.send_header(FLAVOR, "Google")
                self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "application/text")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Logs nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Google's clients find the server."""
        address = f"127.0.0.1:{self._server.server_port}"
        return {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "NO_GCE_CHECK": "false"}

    def _answer(self, path: str, query: dict[str, str]) -> str | None:
        account = {"aliases": ["default"], "email": self._account, "scopes": [CLOUD_PLATFORM]}
        accounts = f"{ROOT}/instance/service-accounts"
        if path in (f"{accounts}/{name}/token" for name in ("default", self._account)):
            token = self._issue(self._account, query.get("scopes", CLOUD_PLATFORM).replace(",", " "))
            return json.dumps({"access_token": token, "expires_in": LIFETIME - 1, "token_type": "Bearer"})
        return {
            "": "computeMetadata/\n",
            f"{ROOT}/project/project-id": self._project,
            f"{ROOT}/universe/universe-domain": "googleapis.com",
            f"{accounts}/default": json.dumps(account),
            f"{accounts}/{self._account}": json.dumps(account),
            f"{accounts}/default/email": self._account,
        }.get(path)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
