"""Runs models from a bucket in one warm process for all endpoints and batch jobs."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from tests.emulators.services import Refused

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

PROGRAM = pathlib.Path(__file__).with_name("model_server.py")


class Serving:
    """Predicts in a process that starts at the first prediction, because importing TensorFlow takes five seconds."""

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def close(self) -> None:
        with self._lock:
            if self._process:
                self._process.kill()  # it has no state to save
                self._process.communicate()
                self._process = None

    def predict(self, artifacts: str, instances: list[Any]) -> list[dict[str, Any]]:
        """Predicts with the model at gs://...: {"prediction": ...} or {"error": text} per instance. Raises Refused."""
        with self._lock:
            folder = self._fetched(artifacts.rstrip("/"))
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            process = self._process
            process.stdin.write(json.dumps([str(folder), instances]).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise Refused(StatusCode.UNAVAILABLE, f"The model server ended with {process.wait()}.")
            return json.loads(line)

    def _fetched(self, artifacts: str) -> pathlib.Path:
        """A folder with the current files of a model in a bucket; raises Refused when there are none.

        Equal files share a folder, wherever they are stored, so that they are loaded once.
        """
        bucket = artifacts.removeprefix("gs://").partition("/")[0]
        names = [f"gs://{bucket}/{name}" for name in self._cloud.gcs.names(f"{artifacts}/")]
        if not names:
            raise Refused(StatusCode.NOT_FOUND, f"There is no model at {artifacts}.")
        files = {name.removeprefix(f"{artifacts}/"): self._cloud.gcs.read(name) for name in names}
        hashes = [f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in files.items()]
        folder = self._cloud.folder / "models" / hashlib.sha256("".join(hashes).encode()).hexdigest()
        if not folder.exists():
            for name, data in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.write_bytes(data)
        return folder

    def _start(self) -> subprocess.Popen:
        # Like a container, it does not inherit the environment of the tests' process.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(PROGRAM)],
            env=kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach only the parent, which closes it
        )
