"""A server of the `:predict` protocol on this machine that can be slow, broken, overloaded or away."""

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


def prediction(label: str, confidence: float) -> dict[str, Any]:
    """What a model of bright and dark pictures answers for one of them."""
    other = "dark" if label == "bright" else "bright"
    return {
        "label": label,
        "confidence": confidence,
        "probabilities": [confidence, 1 - confidence],
        "all_classes": [label, other],
    }


class FaultyServer:
    """Answers every picture with one label; `fault`, where it is set, answers instead."""

    def __init__(self, label: str = "bright", confidence: float = 0.9):
        self.label, self.confidence = label, confidence
        self.fault: Fault | None = None
        self.pictures: list[bytes] = []  # that came
        self.uploaded: dict[str, bytes] = {}  # {name: content} below /unlabelled/
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "FaultyServer":
        self._thread.start()
        self._runner, port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop(self) -> None:
        """Ends the server; connections to it are refused from then on."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()

    async def _start(self) -> tuple[web.AppRunner, int]:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/models/classification:predict", self._predict)
        app.router.add_put("/unlabelled/{name}", self._upload)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if self.fault:
            return await self.fault(request)
        self.uploaded[request.match_info["name"]] = await request.read()
        return web.Response(status=201)

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        instances = json.loads(await request.read())["instances"]
        self.pictures += [base64.b64decode(instance["image"]["b64"]) for instance in instances]
        if self.fault:
            return await self.fault(request)
        return web.json_response({"predictions": [prediction(self.label, self.confidence)] * len(instances)})


def answers(status: int, text: str = "", **headers: str) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return fault


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def trickles(request: web.Request) -> web.StreamResponse:
    """A byte now and then: a limit on the time between two of them would never end it."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def hangs_up(request: web.Request) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()
