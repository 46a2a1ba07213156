"""Executes one workflow of a clone with `act`, on this machine and without containers, and returns its run."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.workflows import programs
from tests.workflows.pins import PINS
from tests.workflows.run import Run

STAND_INS = pathlib.Path(__file__).parent / "stand_ins"
MACHINE = "ubuntu-24.04"
LEFT = "stand-ins"  # folder of what the stand-ins leave behind
LONGEST = 400  # seconds


class Setting(NamedTuple):
    """Where workflows run: the clone, the repository's name, its variables, and what a runner's network is like."""

    clone: pathlib.Path
    folder: pathlib.Path  # what act and the stand-ins leave behind
    repository: str
    variables: Mapping[str, str]
    environment: Mapping[str, str]


def execute(setting: Setting, workflow: str, event_name: str, event: Mapping[str, Any], id: int, token: str) -> Run:
    """Runs a workflow's jobs one after another. `id` is the run's number; `token` is what its jobs may do on GitHub."""
    folder = setting.folder / f"{id}"
    (folder / "home").mkdir(parents=True)
    (setting.folder / LEFT).mkdir(exist_ok=True)
    (folder / "event.json").write_text(json.dumps(event))
    sha = subprocess.run(["git", "-C", setting.clone, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        _call(_command(setting, folder, workflow, event_name, id, token), folder, log)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return Run(workflow, id, sha.stdout.strip(), folder / "log", time.monotonic() - began)


def _command(setting: Setting, folder: pathlib.Path, workflow: str, event_name: str, id: int, token: str) -> list[str]:
    runner = {
        **setting.environment,
        "GITHUB_REPOSITORY": setting.repository,
        "GITHUB_RUN_ID": f"{id}",
        "GITHUB_RUN_NUMBER": f"{id}",
        "STAND_IN_FOLDER": str(setting.folder / LEFT),
        "STAND_IN_ORIGIN": str(setting.clone),
    }
    command = [str(programs.installed("act")), event_name]
    command += ["-C", str(setting.clone), "-W", f".github/workflows/{workflow}", "-e", str(folder / "event.json")]
    command += ["-P", f"{MACHINE}=-self-hosted", "--json", "-v", "--rm", "--concurrent-jobs", "1", "--no-skip-checkout"]
    command += ["--no-cache-server", "--action-offline-mode", "--action-cache-path", str(folder / "cache")]
    command += ["--env-file", "", "--secret-file", "", "--var-file", "", "--input-file", "", "--actor", "somebody"]
    command += ["-s", f"GITHUB_TOKEN={token}"]
    for name, value in setting.variables.items():
        command += ["--var", f"{name}={value}"]
    for name, value in runner.items():
        command += ["--env", f"{name}={value}"]
    for action, (_, commit) in PINS.items():
        command += ["--local-repository", f"{action}@{commit}={STAND_INS / action.partition('/')[2]}"]
    return command


def _call(command: list[str], folder: pathlib.Path, log: Any) -> None:
    """Runs act with nothing of this process's environment but the PATH; stops it when it takes too long."""
    environment = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        process.wait(LONGEST)
    except BaseException as error:
        # it then ends what its jobs have started
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        log.write(f"stopped: it took longer than {LONGEST} seconds\n".encode())
