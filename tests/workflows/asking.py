"""Every function of ours that asks GitHub, made to do so: of the stand-in here, or of whoever is at GITHUB_API_URL."""

import datetime
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ci import outcome
from tests.emulators.github.service import GitHub


class Stage:
    """Where commands are run in this process. What `github` is told to hold, only the stand-in answers."""

    def __init__(self, github: GitHub, monkeypatch: pytest.MonkeyPatch, folder: os.PathLike[str]):
        self.github, self._monkeypatch, self.folder = github, monkeypatch, folder
        self.set(GITHUB_REPOSITORY=github.repository, GITHUB_TOKEN=github.token(), GITHUB_REF_NAME="main")
        monkeypatch.chdir(folder)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def ci(self, command: str, *arguments: str, **variables: str) -> None:
        self.set(**variables)
        assert outcome.run(command, [*arguments, "--debug"]) == 0


def check_schedule(stage: Stage) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    for idle in (50, 55, 1):
        stage.github.about.pushed = now - datetime.timedelta(days=idle)
        stage.ci("check-schedule")


def dispatch(stage: Stage) -> None:
    stage.github.actions.workflows["evaluation.yml"] = {"spans", "dry_run"}
    stage.ci("dispatch", "evaluation.yml")
    stage.ci("dispatch", "evaluation.yml", "--input", "spans=1,2", "--input", "dry_run=true")


def incident(stage: Stage) -> None:
    told: dict[str, Any] = {"count": {"result": "success"}}
    for run, result in enumerate(("failure", "failure", "success"), 1):
        told["count"]["result"] = result
        stage.ci("incident", NEEDS=json.dumps(told), GITHUB_WORKFLOW="collected data", GITHUB_RUN_ID=f"{run}")


def route(stage: Stage) -> None:
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message=one"]):
        author = ["-c", "user.name=spanloop", "-c", "user.email="]
        subprocess.run(["git", *author, *command], cwd=stage.folder, check=True)
    stage.github.deployments.add("vertex-ai", "a" * 40, "in_progress", "success", "inactive")
    stage.github.deployments.add("vertex-ai", "b" * 40, "failure")
    stage.ci("route", "--deployed", "--head", "HEAD")


PLAYS: tuple[Callable[[Stage], None], ...] = (check_schedule, dispatch, incident, route)
