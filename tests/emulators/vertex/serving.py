"""Runs the containers that serve models: the program of their image, as processes, asked by HTTP."""

import contextlib
import hashlib
import http.client
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from google.cloud import aiplatform_v1 as types
from grpc import StatusCode

from tests.emulators.services import Refused
from tests.emulators.vertex.processes import NoSuchImage, surroundings
from tests.emulators.vertex.workers import Workers, last_words
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

KEPT = 3  # processes
UNHEALTHY = 240  # seconds, after which a container has failed; on Vertex AI a deployment may take longer
CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
# Google's containers cannot be run here; this repository's server has the same protocol
GOOGLES = "docker.pkg.dev/vertex-ai/prediction/"
OURS = ("python", "-m", "ci", "serve")


class Container(NamedTuple):
    """A running process, and where it answers."""

    process: subprocess.Popen
    port: int
    predict: str

    def ask(self, method: str, path: str, body: bytes | None = None, seconds: float = 120) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class Serving:
    """A container of each model and image, which starts at the first prediction: importing TensorFlow takes seconds.

    A deployment therefore does not wait for it, as it does on Vertex AI.
    """

    def __init__(self, cloud: "Cloud", workers: Workers):
        self._cloud, self._workers = cloud, workers
        self._lock = threading.Lock()
        self._running: dict[str, Container] = {}

    def close(self) -> None:
        with self._lock:
            for container in self._running.values():
                _end(container)
            self._running.clear()

    def predict(self, model: types.Model, instances: list[Any]) -> list[dict[str, Any]]:
        """Returns {"prediction": ...} or {"error": text} per instance. Raises Refused."""
        with self._lock:
            container = self._container(model)
        return self._answers(container, instances)

    def _answers(self, container: Container, instances: list[Any]) -> list[dict[str, Any]]:
        """Predicts all instances together; if the server refuses them, one by one, to find the invalid ones."""
        status, body = container.ask("POST", container.predict, json.dumps({"instances": instances}).encode())
        found = json.loads(body)
        if status == 200:
            return [{"prediction": row} for row in found["predictions"]]
        if status != 400:
            raise Refused(StatusCode.UNAVAILABLE, f"The model server answered {status}: {body.decode()[:1000]}")
        if len(instances) == 1:
            return [{"error": found["error"]}]
        return [answer for instance in instances for answer in self._answers(container, [instance])]

    def _container(self, model: types.Model) -> Container:
        """Returns the container of a model; equal files in the same image share one, wherever they are stored."""
        spec = model.container_spec
        address = model.artifact_uri.rstrip("/")
        names = self._cloud.gcs.names(f"{address}/")
        if not names:
            raise Refused(StatusCode.NOT_FOUND, f"There is no model at {address}.")
        bucket, _, prefix = address.removeprefix("gs://").partition("/")
        files = {name.removeprefix(f"{prefix}/"): self._cloud.gcs.read(f"gs://{bucket}/{name}") for name in names}
        contents = [(name, hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())]
        key = json.dumps([contents, types.ModelContainerSpec.to_json(spec)])
        found = self._running.pop(key, None)
        if found is None or found.process.poll() is not None:
            found = self._start(spec, address)
        self._running[key] = found  # the last one used is the last to go
        while len(self._running) > KEPT:
            _end(self._running.pop(next(iter(self._running))))
        return found

    def _start(self, spec: types.ModelContainerSpec, address: str) -> Container:
        port = free_port()
        route = "/v1/endpoints/1/deployedModels/1"
        health, predict = spec.health_route or route, spec.predict_route or f"{route}:predict"
        # https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#aip-variables
        variables = {
            "AIP_MODE": "PREDICTION",
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": health,
            "AIP_PREDICT_ROUTE": predict,
            "AIP_STORAGE_URI": address,
            **{each.name: each.value for each in spec.env},
        }
        log = self._workers.folder() / "serving.log"
        container = Container(self._run(spec, variables, log), port, predict)
        until = time.monotonic() + UNHEALTHY
        while container.process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if container.ask("GET", health, seconds=10)[0] == 200:
                    return container
            time.sleep(0.1)
        _end(container)
        raise Refused(StatusCode.FAILED_PRECONDITION, f"Model server terminated: {last_words(log)}")

    def _run(self, spec: types.ModelContainerSpec, variables: Mapping[str, str], log: pathlib.Path) -> subprocess.Popen:
        command = [*spec.command, *spec.args]
        if GOOGLES in spec.image_uri:
            image, command = (CHECKOUT, {}), OURS
        else:
            try:
                image = self._workers.images.find(spec.image_uri)
            except NoSuchImage as error:
                raise Refused(StatusCode.FAILED_PRECONDITION, str(error)) from None
        folder, environment = surroundings(image, self._workers.environment() | variables, log)
        argv = [sys.executable, *command[1:]] if command[0] == "python" else command
        with log.open("wb") as out:
            return subprocess.Popen(
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C must reach only the parent, which closes it
            )


def _end(container: Container) -> None:
    """Ends a container as Vertex AI does: with time for the requests that it has accepted."""
    container.process.terminate()
    try:
        container.process.wait(20)
    except subprocess.TimeoutExpired:
        container.process.kill()
        container.process.wait()
