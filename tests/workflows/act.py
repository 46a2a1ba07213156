"""Executes one workflow of a clone with `act`, without containers, and returns its run."""

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
LEFT = "stand-ins"  # folder in which the stand-ins keep artifacts and caches
LONGEST = 900  # seconds


class Setting(NamedTuple):
    """Surroundings of a run: clone, repository name, variables, and environment of the runner."""

    clone: pathlib.Path
    folder: pathlib.Path  # logs of act, and files of the stand-ins
    repository: str
    variables: Mapping[str, str]
    environment: Mapping[str, str]


def execute(setting: Setting, workflow: str, event_name: str, event: Mapping[str, Any], id: int, token: str) -> Run:
    """Runs a workflow's jobs one after another. `id` is the run's number; `token` is its jobs' GitHub token."""
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
    command += ["--env-file", "", "--secret-file", "", "--var-file", "", "--input-file", "", "--actor", "octocat"]
    command += ["-s", f"GITHUB_TOKEN={token}"]
    for name, value in setting.variables.items():
        command += ["--var", f"{name}={value}"]
    for name, value in runner.items():
        command += ["--env", f"{name}={value}"]
    for owner, name, commit in {(*action.split("/")[:2], commit) for action, (_, commit) in PINS.items()}:
        command += ["--local-repository", f"{owner}/{name}@{commit}={STAND_INS / name}"]
    return command


def _call(command: list[str], folder: pathlib.Path, log: Any) -> None:
    """Runs act with only the PATH of this process's environment; stops it after LONGEST seconds."""
    environment = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        process.wait(LONGEST)
    except BaseException as error:
        # SIGINT lets act end the processes of its jobs
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        log.write(f"stopped: it took longer than {LONGEST} seconds\n".encode())
