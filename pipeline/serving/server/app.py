"""The HTTP server: predictions, health, metrics, the web client; its life from the start to the last answer.

Health and prediction have the routes of TensorFlow Serving, and those that Vertex AI names in AIP_* variables:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#aip-variables
"""

import asyncio
import functools
import json
import random
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pipeline.config import Config
from pipeline.errors import StorageError, UsageError
from pipeline.progress import Log
from pipeline.serving.server import protocol
from pipeline.serving.server.hosts import Hosts
from pipeline.serving.server.metrics import Metrics
from pipeline.serving.server.models import Models, Source
from pipeline.serving.server.protocol import Limits, Refusal
from pipeline.serving.server.uploads import PATH as UPLOADS
from pipeline.serving.server.uploads import Uploads
from pipeline.serving.server.web import PAGE, Pages

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
GRACE = 0.25  # seconds after SIGTERM in which new connections are accepted still
LOG_SECONDS = 0.1  # in which lines of the log are collected
BODIES = 8  # bodies of the largest size that are in memory at a time


@dataclass(frozen=True)
class Place:
    """Where the server listens, and under which paths besides its own."""

    host: str = "127.0.0.1"
    port: int = 8080
    health: str = ""
    predict: str = ""
    page: str = PAGE  # folder of the built web client
    on_vertex: bool = False  # which chose the port: only it can reach that, under any host name

    @classmethod
    def of(
        cls, environ: Mapping[str, str], host: str | None = None, port: int | None = None, page: str | None = None
    ) -> "Place":
        """Returns what the arguments say, or else the AIP_* variables. Raises UsageError."""
        text = environ.get("AIP_HTTP_PORT", "")
        if text and not (text.isascii() and text.isdigit() and int(text) < 65536):
            raise UsageError(f"AIP_HTTP_PORT is {text!r}, but has to be a port: Vertex AI sets it.")
        routes = [environ.get(name, "") for name in ("AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE")]
        for route in filter(None, routes):
            if not re.fullmatch(r"/[^\s?#{}]*", route):
                raise UsageError(f"The route {route!r} is no path such as /health: see AIP_HEALTH_ROUTE.")
        return cls(
            host or ("0.0.0.0" if text else cls.host),
            int(text or cls.port) if port is None else port,
            *routes,
            page or PAGE,
            bool(text),
        )


class Server:
    """The application and its models."""

    def __init__(self, config: Config, source: Source, place: Place, log: Log):
        self._config, self._place, self._log = config, place, log
        self._limits = Limits.of(config)
        self._metrics = Metrics()
        self._hosts = None if place.on_vertex else Hosts(place.host, config.serving_hosts)
        self._uploads = Uploads(config) if config.serving_uploads else None
        self.models = Models(source, config, self._metrics, log)
        self.task = config.modules.rpartition(".")[2] or "model"  # an image has no task of its own
        self._stopping = asyncio.Event()
        self._bodies = 0  # bytes of bodies that are being read
        self._lines: list[tuple[float, dict[str, Any]]] = []  # of the log, with their times, not written yet
        self._active = 0  # requests for predictions that are not answered yet
        self._unused: dict[Any, asyncio.TimerHandle] = {}  # by connection: ends those without a first request
        self.requests = 0

    @property
    def predict_path(self) -> str:
        return f"/v1/models/{self.task}:predict"

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_errors], client_max_size=self._limits.body)
        model = "/v1/models/{name:[^/:]+}"
        version = model + "/versions/{version:[0-9]+}"
        app.router.add_post(self.predict_path, self.predict)  # found without comparing it with patterns
        app.add_routes([web.post(f"{each}:predict", self.predict) for each in (model, version)])
        app.add_routes([web.get(each, self.status) for each in (model, version)])
        if self._place.predict:
            app.router.add_post(self._place.predict, self.predict)
        for route in {"/health", self._place.health} - {""}:
            app.router.add_get(route, self.health)
        app.router.add_get("/metrics", self.metrics)
        if self._uploads:
            app.router.add_put(UPLOADS + "{name}", self.upload)
        app.add_routes(Pages(self._config, self.predict_path, self._place.page).routes())
        return app

    # Handlers

    async def predict(self, request: web.Request) -> web.Response:
        """Answers a request for predictions."""
        began, identity, model, count = time.monotonic(), _identity(request), "", 0
        self.requests += 1
        self._active += 1
        headers = JSON | {"X-Request-Id": identity}
        try:
            worker = self.models.choose(self._wanted(request))
            model = worker.tag
            worker.check()  # before anything is read: refusing has to be cheap
            instances = protocol.parse(await self._body(request), worker.inputs, self._limits)
            count = instances.count
            rows = await worker.predict(instances)
            status, body, problem = 200, protocol.predictions(rows, instances.columnar), {}
            headers["X-Model-Release"] = model
        except Refusal as refusal:
            status, body, problem = refusal.status, protocol.error(str(refusal)), {"error": str(refusal)[:500]}
            headers |= _retry_after(refusal)
        finally:
            self._active -= 1
        seconds = time.monotonic() - began
        self._metrics.request(model, status, seconds)
        self._write(
            "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR",
            f"predict {status}",
            request_id=identity,
            model=model,
            status=status,
            instances=count,
            milliseconds=round(seconds * 1e3, 2),
            **problem,
        )
        response = web.Response(status=status, body=body, headers=headers)
        if self._stopping.is_set():
            response.force_close()
        return response

    async def upload(self, request: web.Request) -> web.Response:
        """Keeps a picture that a client found hard, or the note about it."""
        status = 500
        try:
            new = await self._uploads.take(request.match_info["name"], lambda: self._body(request))
            status = 201 if new else 200
            return _json({"kept": new}, status)
        except Refusal as refusal:
            status = refusal.status
            return _refused(refusal)
        finally:
            self._metrics.uploads.labels(str(status)).inc()
            self._write("INFO" if status < 400 else "WARNING", f"upload {status}", status=status)

    async def health(self, _: web.Request) -> web.Response:
        """200 while predictions can be asked for: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#health"""
        healthy = self.models.ready and not self._stopping.is_set()
        body = {"status": "ok" if healthy else "stopping" if self._stopping.is_set() else "loading"}
        return _json(body | {"models": self.models.shares}, 200 if healthy else 503)

    async def status(self, request: web.Request) -> web.Response:
        """The Model status API of TensorFlow Serving."""
        wanted = self._wanted(request)
        shares = self.models.shares
        if wanted and wanted not in shares:
            raise Refusal(404, f"Could not find version {wanted} of model {self.task}")
        states = [
            {"version": _number(tag), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            for tag in shares
            if wanted in (None, tag)
        ]
        return _json({"model_version_status": states})

    async def metrics(self, _: web.Request) -> web.Response:
        """Everything that the server counts, as Prometheus reads it."""
        for tag, waiting in self.models.waiting().items():
            self._metrics.waiting.labels(tag).set(waiting)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers in JSON whatever goes wrong outside of a prediction."""
        if timer := self._unused.pop(request.protocol, None):
            timer.cancel()
        try:
            if self._hosts:
                self._hosts.check(request.headers.get("Host"))
            return await handler(request)
        except Refusal as refusal:
            return _refused(refusal)
        except web.HTTPException as error:
            if error.status not in (404, 405) or request.method in ("GET", "HEAD"):
                raise
            message = f"Malformed request: {request.method} {request.path}"
            return web.Response(status=404, body=protocol.error(message), headers=JSON)
        except Exception as error:
            self._write("ERROR", f"{type(error).__name__}: {error}", path=request.path)
            return web.Response(status=500, body=protocol.error("Internal error."), headers=JSON)

    def _wanted(self, request: web.Request) -> str | None:
        """Returns the tag that the path names, None for any. Raises Refusal."""
        name, version = (request.match_info.get(part) for part in ("name", "version"))
        if name not in (None, self.task):
            raise Refusal(404, f"Servable not found for request: Latest({name})")
        return f"model-{int(version)}" if version else None

    async def _body(self, request: web.Request) -> bytes:
        size = request.content_length
        if size is not None and size > self._limits.body:
            raise Refusal(413, f"The request size ({size:,} bytes) exceeds {self._limits.body:,} bytes.")
        size = self._limits.body if size is None else size
        if self._bodies + size > BODIES * self._limits.body:
            raise Refusal(429, "Too many large requests at a time.", 1)
        if request.content.is_eof():  # all of it is there
            return await request.read()
        self._bodies += size
        try:
            return await asyncio.wait_for(request.read(), self._config.serving_seconds)
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(413, f"The request has more than {self._limits.body:,} bytes.") from None
        except asyncio.TimeoutError:
            raise Refusal(408, "The request's body did not arrive in time.") from None
        finally:
            self._bodies -= size

    def _write(self, severity: str, text: str, **fields: Any) -> None:
        """Keeps a line of the log until `_flush`: many at a time take a fraction of the time of one after another."""
        if not self._lines:
            asyncio.get_running_loop().call_later(LOG_SECONDS, self._flush)
        self._lines.append((time.time(), {"severity": severity, "message": text, **fields}))

    def _flush(self) -> None:
        if self._lines:
            print("\n".join(_line(*line) for line in self._lines), file=sys.stderr, flush=True)
            self._lines.clear()

    # Life

    async def run(self, seconds: float | None, started: Callable[[str], None]) -> None:
        """Listens, loads the models, serves until a signal, then answers what was accepted.

        Follows the source every `seconds`, never with None. Calls `started` with its address once it is healthy.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        runner = web.AppRunner(self.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            server = await self._listen(runner)
            address = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
            self._log(f"Listening at {address}")
            loading = asyncio.create_task(self.models.load())
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                loading.cancel()
                return
            loading.result()
            started(address)
            following = asyncio.create_task(self.models.follow(seconds)) if seconds else None
            await stopping
            if following:
                following.cancel()
            await self._drain(server)
        finally:
            await runner.cleanup()
            await self.models.close()
            self._flush()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        loop = asyncio.get_running_loop()

        def opened() -> web.RequestHandler:
            connection = runner.server()
            self._unused[connection] = loop.call_later(self._config.serving_seconds, self._close_unused, connection)
            return connection

        try:
            return await loop.create_server(opened, self._place.host, self._place.port, backlog=1024)
        except OSError as error:
            place = f"{self._place.host}:{self._place.port}"
            raise StorageError(place, error.strerror or str(error), "Choose another with --port.") from None

    def _close_unused(self, connection: web.RequestHandler) -> None:
        """Closes a connection on which the first request did not arrive in time; later ones aiohttp watches itself."""
        del self._unused[connection]
        if connection.transport:
            connection.transport.abort()

    async def _drain(self, server: asyncio.Server) -> None:
        """Answers what was accepted, and for a moment also who has not seen yet that it is no longer healthy."""
        self._log("Stopping: answering what was accepted ...")
        await asyncio.sleep(GRACE)
        server.close()
        until = time.monotonic() + self._config.serving_seconds
        while self._active and time.monotonic() < until:
            await asyncio.sleep(0.01)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(value).encode(), headers=JSON)


def _line(now: float, fields: Mapping[str, Any]) -> str:
    """Returns a line of JSON: https://cloud.google.com/logging/docs/structured-logging"""
    return json.dumps({"time": f"{_second(int(now))}.{int(now % 1 * 1e3):03d}Z", **fields})


@functools.lru_cache(maxsize=1)  # thousands of lines are written in a second
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def _refused(refusal: Refusal) -> web.Response:
    headers = JSON | _retry_after(refusal)
    return web.Response(status=refusal.status, body=protocol.error(str(refusal)), headers=headers)


def _retry_after(refusal: Refusal) -> dict[str, str]:
    return {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}


def _identity(request: web.Request) -> str:
    """Returns the X-Request-Id of a request, or a new one."""
    given = request.headers.get("X-Request-Id")
    if given and re.fullmatch(r"[\w.:-]{1,128}", given, re.ASCII):
        return given
    return f"{random.getrandbits(64):016x}"  # unique; nothing depends on that it cannot be guessed


def _number(tag: str) -> str:
    """Returns the version of a release: "3" for model-3."""
    return tag.removeprefix("model-") if re.fullmatch(r"model-[1-9]\d*", tag) else "1"
