"""Machines for containers: their files, credentials and environment."""

import itertools
import pathlib
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tests.emulators.vertex import components
from tests.emulators.vertex.images import Images
from tests.emulators.vertex.metadata_server import MetadataServer
from tests.emulators.vertex.processes import Containers, Forked, NoSuchImage, Started

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

# What tasks of pipelines import.
IMPORTED = (
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.components",
    "tfx.scripts.run_executor",
    "google.cloud.aiplatform_v1",
    "google.cloud.storage",
    "keras_tuner",
    "kfp",
    "obstore",
    "tensorflow_model_analysis",
    "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner",
)
# Settings of commands, which are not set on Vertex AI's machines.
SETTINGS = ("GCP_PROJECT", "GCP_REGION", "PIPELINE_SERVICE_ACCOUNT", "BUILD_SERVICE_ACCOUNT", "IMAGE_REPOSITORY")


class Failed(Exception):
    """A container failed; the message is Vertex AI's."""


class Stop:
    """Ends the containers of a job, including those about to start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], object]] = []
        self.asked = False

    def set(self) -> None:
        with self._lock:
            self.asked = True
            for end in self._ends:
                end()

    def add(self, end: Callable[[], object]) -> None:
        with self._lock:
            self._ends.append(end)
            if self.asked:
                end()


class Workers:
    """`containers` is the way to run them, see processes.py; `commands` are all commands so far."""

    def __init__(self, cloud: "Cloud"):
        self._cloud = cloud
        self._common = {name: value for name, value in cloud.environment.items() if name not in SETTINGS}
        self._common["TF_CPP_MIN_LOG_LEVEL"] = "2"
        self.images = Images(cloud)
        environment = {"PATH": "/usr/bin:/bin", **self._common}
        self.warm = Forked(self.images.find, environment, IMPORTED)
        self._programs = Forked(self.images.find, environment, components.IMPORTED, signal.SIGTERM)
        self._metadata_servers: dict[str, MetadataServer] = {}
        self._root = cloud.folder / "vertex"
        self._numbers = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        self.containers: Containers = self.warm
        self.commands: list[list[str]] = []
        self._logs: list[pathlib.Path] = []
        self.images.reset()

    def close(self) -> None:
        self.warm.close()
        self._programs.close()
        for server in self._metadata_servers.values():
            server.close()

    def logs(self) -> dict[str, str]:
        """Logs of the containers: {number-name: text}."""
        return {path.stem: path.read_text(errors="replace") for path in self._logs if path.exists()}

    def folder(self) -> pathlib.Path:
        """A new empty folder."""
        folder = self._root / f"{next(self._numbers):04d}"
        folder.mkdir(parents=True)
        return folder

    def environment(self, account: str = "") -> dict[str, str]:
        """The environment of a container that runs as a service account, by default Compute Engine's."""
        key_file = self._cloud.oauth.key_file(account or self._default_account)
        return {**self._common, "GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}

    @property
    def _default_account(self) -> str:
        return f"{self._cloud.project_number}-compute@developer.gserviceaccount.com"

    def _environment_of_machine(self, account: str) -> dict[str, str]:
        """The environment of a container that gets its account's tokens from the machine, as components do."""
        account = account or self._default_account
        self._cloud.oauth.key_file(account)
        if account not in self._metadata_servers:
            issue = self._cloud.oauth.issue
            self._metadata_servers[account] = MetadataServer(account, self._cloud.project, issue)
        found = {**self._common, **self._metadata_servers[account].environment}
        found.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
        return found

    def run(
        self, name: str, image: str, command: Sequence[str], account: str, stop: Stop, more: Mapping[str, str]
    ) -> None:
        """Runs a container as a service account. Raises Failed."""
        self.commands.append(list(command))
        try:
            if image == components.IMAGE:
                command = components.local_command(command)
                self._run(name, image, command, self._environment_of_machine(account) | more, stop, self._programs)
            else:
                self._run(name, image, command, self.environment(account) | more, stop, self.containers)
        except NoSuchImage as error:
            raise Failed(str(error)) from None

    def run_for_user(
        self,
        name: str,
        image: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        started: Started = lambda end: None,
    ) -> tuple[int, str, str]:
        """Runs Python in an image's folder, as a user does; returns exit code, line of JSON and remaining output.

        Forks the warm process, because a command that compiles takes ten seconds for its imports. `started` is called
        with the function that kills it.
        """
        log = self.folder() / f"{name.replace(' ', '-')}.log"
        code = self.warm.run(image, ["python", *arguments], environment, log, started)
        lines = log.read_text().splitlines(keepends=True)
        found = [line for line in lines if line.startswith(("{", "[["))]
        return code, "".join(found[-1:]), "".join(line for line in lines if line not in found)

    def run_program(self, name: str, command: Sequence[str], stop: Stop) -> None:
        """Runs a program of the local servers' own. Raises Failed."""
        self._run(name, components.IMAGE, command, self._common, stop, self._programs)

    def _run(
        self,
        name: str,
        image: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        stop: Stop,
        containers: Containers,
    ) -> None:
        folder = self.folder()
        log = folder / f"{folder.name}-{name}.log"
        self._logs.append(log)
        code = containers.run(image, command, environment, log, stop.add)
        if code:
            raise Failed(
                f"The replica workerpool0-0 exited with a non-zero status of {code}. Termination reason: Error. "
                f"To find out more about why your job exited please check the logs. Last line: {last_words(log)}"
            )


def last_words(log: pathlib.Path) -> str:
    """The last line of a log that is not blank, such as the exception of a failed Python program."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    return next((line for line in reversed(lines) if line), "")[:2000]
