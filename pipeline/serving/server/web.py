"""The web client and the channel that it follows, served from the same origin as predictions."""

import base64
import mimetypes
import os
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pipeline.config import Config
from pipeline.serving.device_place import FOR_EVER
from pipeline.serving.server.uploads import PATH as UPLOADS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # above `pipeline`
PAGE = os.path.join(ROOT, "apps", "web", "dist")
NOT_BUILT = """The web client is not built. Build it in a checkout of the repository:

    cd apps/web && npm ci && npm run build

Predictions need no page: POST {predict}
"""
# https://developer.mozilla.org/docs/Web/HTTP/Guides/CSP; WebAssembly is compiled by LiteRT's runtime
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}
TYPES = {
    ".wasm": "application/wasm",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".tflite": "application/octet-stream",
}
VERSIONED = re.compile(r"/litert-\d+(\.\d+)+/")  # the runtime's folder, which apps/web/build.mjs names by version
NO_CACHE = "no-cache"  # a browser asks each time whether it has changed


def public_key(config: Config) -> str | None:
    """Returns the key that devices trust, raw and as base64; None without one. Raises SigningKeyUnusable."""
    if not (config.device_public_key or config.device_signing_key):
        return None
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    from pipeline.serving.device_signing import trusted_key

    key = load_pem_public_key(trusted_key(config).encode())
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


class Pages:
    """Handlers of the web client's files, its configuration and the device channel."""

    def __init__(self, config: Config, predict: str, page: str = PAGE):
        self._task = config.modules.rpartition(".")[2]
        is_folder = bool(config.device_channel) and "://" not in config.device_channel
        self._channel = config.device_channel if is_folder and not config.device_channel.startswith("github:") else ""
        self._predict, self._page = predict, page
        self._unlabelled = UPLOADS if config.serving_uploads else None
        self._key = public_key(config)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/config.json", self.config),
            web.get("/devices/{path:.*}", self.devices),
            web.get("/{path:.*}", self.page),
        ]

    async def config(self, _: web.Request) -> web.Response:
        return web.json_response(self.configuration(), headers=SECURITY | {"Cache-Control": NO_CACHE})

    def configuration(self) -> Mapping[str, Any]:
        """Returns what the page needs to know; null where it is not configured."""
        return {
            "channel": f"/devices/{self._task}/channels/stable.json" if self._channel else None,
            "predict": self._predict,
            "publicKey": self._key,
            "task": self._task,
            "unlabelled": self._unlabelled,
        }

    async def devices(self, request: web.Request) -> web.StreamResponse:
        """Gives a file of DEVICE_CHANNEL: a pointer, a manifest or a model."""
        path = self._channel and _file(os.path.join(self._channel, "devices"), request)
        if not path:
            raise web.HTTPNotFound(headers=SECURITY)
        return _response(path, NO_CACHE if "/channels/" in request.path else FOR_EVER)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Gives a file of the built web client."""
        if path := _file(self._page, request):
            return _response(path, FOR_EVER if VERSIONED.match(request.path) else NO_CACHE)
        if request.path == "/":
            return web.Response(text=NOT_BUILT.format(predict=self._predict), headers=SECURITY)
        raise web.HTTPNotFound(headers=SECURITY)


def _file(folder: str, request: web.Request) -> str | None:
    """Returns the path of the file that a request names below a folder; None where it would be another place."""
    names = (request.match_info["path"] or "index.html").split("/")
    if re.search(r"%2f|%5c|%00", request.raw_path, re.IGNORECASE) or not all(map(_is_plain, names)):
        return None
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, *names))
    return path if path.startswith(f"{root}{os.sep}") and os.path.isfile(path) else None


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not set(name) & {"\\", "\0"}


def _response(path: str, caching: str) -> web.FileResponse:
    """Answers with a file, or its .br or .gz beside it where the client takes that."""
    ending = os.path.splitext(path)[1]
    kind = TYPES.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    return web.FileResponse(path, headers=SECURITY | {"Cache-Control": caching, "Content-Type": f"{kind}{charset}"})
