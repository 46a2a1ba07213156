"""A server of the web client on this machine: the page, a device channel and predictions, each of which can be broken.

The page, `/config.json`, `/devices/...` and `:predict` lie on one host, as `python -m ci serve` has them.
"""

import asyncio
import base64
import json
import pathlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from tests.apps.client.faulty import Fault, hangs_up, never, prediction

DIST = pathlib.Path(__file__).resolve().parents[3] / "apps" / "web" / "dist"
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}
TYPES |= {".html": "text/html", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}


class Site:
    """Serves until it is closed. Predictions give `label` with `confidence`, unless `fault` answers instead."""

    def __init__(self, devices: pathlib.Path, config: dict[str, Any]):
        self.config = config
        self.label, self.confidence = "bright", 0.9
        self.fault: Fault | None = None  # answers predictions
        self.replaced: dict[str, bytes] = {}  # {path: what is served in its place}
        self.is_down = False  # every connection is cut
        self.cut: set[str] = set()  # paths that are cut off
        self.hanging: set[str] = set()  # paths without an answer
        self.pictures: list[bytes] = []  # that predictions were asked for
        self.uploaded: dict[str, bytes] = {}  # {name: content} below /unlabelled/
        self.requests: list[str] = []  # paths
        self._devices = devices
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner, port = self._call(self._start(0))
        self.url = f"http://localhost:{port}/"  # a secure context without a certificate

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._runner.cleanup()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # answers that never come

    def _call(self, coroutine: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _start(self, port: int) -> tuple[web.AppRunner, int]:
        app = web.Application(client_max_size=64 << 20, middlewares=[self._watch])
        app.router.add_get("/config.json", self._config)
        app.router.add_post("/v1/models/classification:predict", self._predict)
        app.router.add_put("/unlabelled/{name}", self._upload)
        app.router.add_get("/devices/{path:.+}", self._device_file)
        app.router.add_get("/{path:.*}", self._page)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        return runner, runner.addresses[0][1]

    @web.middleware
    async def _watch(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        if self.is_down:
            request.transport.abort()
        self.requests.append(request.path)
        if request.path in self.replaced:
            return web.Response(body=self.replaced[request.path], content_type=_type(request.path))
        if request.path in self.hanging:
            return await never(request)
        return await (hangs_up if request.path in self.cut else handler)(request)

    async def _config(self, _: web.Request) -> web.Response:
        return web.json_response(self.config)

    async def _device_file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self._devices / request.match_info["path"])

    async def _page(self, request: web.Request) -> web.StreamResponse:
        path = DIST / (request.match_info["path"] or "index.html")
        if not path.is_file():
            raise web.HTTPNotFound
        # FileResponse sends the .br or .gz beside a file to those who take it
        return web.FileResponse(path, headers={"Content-Type": _type(path.name), "Cache-Control": "no-cache"})

    async def _upload(self, request: web.Request) -> web.Response:
        self.uploaded[request.match_info["name"]] = await request.read()
        return web.Response(status=201)

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        (instance,) = json.loads(await request.read())["instances"]
        self.pictures.append(base64.b64decode(instance["image"]["b64"], validate=True))
        if self.fault:
            return await self.fault(request)
        predictions = [prediction(self.label, self.confidence)]
        return web.json_response({"predictions": predictions}, headers={"X-Model-Release": "model-9"})


def _type(name: str) -> str:
    return TYPES.get(".html" if name == "/" else pathlib.PurePath(name).suffix, "application/octet-stream")
