"""Ways to run a task's container: as a new process, or forked from a warm one. With podman: tests/image/."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

PROGRAMS = pathlib.Path(__file__).parent / "programs"
Started = Callable[[Callable[[], object]], object]  # called with the function that ends the container
FindImage = Callable[[str], tuple[pathlib.Path, Mapping[str, str]]]


class NoSuchImage(Exception):
    """The image was not pushed."""


class Containers:
    """A way to run containers."""

    def run(
        self, image: str, command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path, started: Started
    ) -> int:
        """Runs a command in an image and waits; returns its exit code. Raises NoSuchImage."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends processes that stay between runs."""


class Plain(Containers):
    """Runs each container as a new process of this Python; `find` returns an image's folder and environment."""

    def __init__(self, find: FindImage):
        self._find = find

    def run(self, image, command, environment, log, started) -> int:
        folder, variables = surroundings(self._find(image), environment, log)
        argv = [sys.executable, *command[1:]] if command[0] == "python" else command
        with log.open("ab") as out:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        started(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        return process.wait()


def surroundings(
    image: tuple[pathlib.Path, Mapping[str, str]], environment: Mapping[str, str], log: pathlib.Path
) -> tuple[str, dict[str, str]]:
    """Working directory and environment of a container's process; its temporary files go beside its log."""
    folder, sets = image
    own = {"HOME": str(log.parent), "TMPDIR": str(log.parent), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    return str(folder), {**own, **sets, **environment}


class _Task:
    """A forked process."""

    def __init__(self, ending: signal.Signals) -> None:
        self._signal = ending
        self.began, self.ended = threading.Event(), threading.Event()
        self.pid = self.code = 0

    def end(self) -> None:
        if not self.ended.is_set():
            os.killpg(self.pid, self._signal)


class Forked(Containers):
    """Forks each container from one warm process (programs/zygote.py), which has `imported` modules.

    It starts with the first container. `ending` is the signal that ends a container.
    """

    def __init__(
        self,
        find: FindImage,
        environment: Mapping[str, str],
        imported: Sequence[str],
        ending: signal.Signals = signal.SIGKILL,
    ):
        self._find, self._environment, self._imported, self._ending = find, dict(environment), imported, ending
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._process: subprocess.Popen | None = None
        self._tasks: dict[str, _Task] = {}

    def run(self, image, command, environment, log, started) -> int:
        folder, variables = surroundings(self._find(image), environment, log)
        task, name = _Task(self._ending), str(next(self._ids))
        wanted = {"id": name, "argv": list(command), "folder": folder, "environment": variables, "log": str(log)}
        with self._lock:
            process = self._warm()
            self._tasks[name] = task
            process.stdin.write(f"{json.dumps(wanted)}\n".encode())
            process.stdin.flush()
        task.began.wait()
        started(task.end)
        task.ended.wait()
        return task.code

    def warm_up(self) -> None:
        """Starts the warm process now; it does its imports in the background."""
        with self._lock:
            self._warm()

    def _warm(self) -> subprocess.Popen:
        if self._process:
            return self._process
        process = self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(PROGRAMS / "zygote.py"), *self._imported],
            env=self._environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            message = json.loads(line)
            if "pid" in message:
                task = self._tasks[message["id"]]
                task.pid = message["pid"]
                task.began.set()
            else:
                task = self._tasks.pop(message["id"])
                task.code = message["code"]
                task.ended.set()
        with self._lock:
            if self._process is process:
                self._process = None  # the next container starts a new one
            lost, self._tasks = self._tasks, {}
        for task in lost.values():
            task.code = -signal.SIGKILL  # the warm process has ended, and its tasks with it
            task.began.set()
            task.ended.set()

    def close(self) -> None:
        with self._lock:
            if self._process:
                self._process.stdin.close()
                self._process.wait()
                self._process.stdout.close()
                self._process = None
