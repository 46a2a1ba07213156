"""Scenarios that execute every function that calls GitHub: the local GitHub, or the server at GITHUB_API_URL."""

import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import types
from collections.abc import Callable
from typing import Any

import pytest
from github.Repository import Repository

from ci import outcome
from ci.github import comments
from pipeline.cloud.rest import Rest
from pipeline.config import Config
from pipeline.doctor import repository
from pipeline.doctor.check import Context, Missing
from pipeline.errors import ReleaseNotFound
from pipeline.github import client
from pipeline.outcomes import Metrics
from pipeline.releases.attestations import unattested
from pipeline.releases.factory import open_releases
from pipeline.releases.record import Release
from pipeline.serving import device_github
from pipeline.serving.device_github import GitHubPlace
from pipeline.setup import workflows
from tests.conftest import EMPTY_MODEL, put
from tests.emulators.github.service import GitHub


class Stage:
    """Runs commands in this process. State that scenarios set on `github` exists only on the local GitHub."""

    def __init__(self, github: GitHub, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path):
        self.github, self._monkeypatch, self.folder = github, monkeypatch, folder
        self.set(GITHUB_REPOSITORY=github.repository, GITHUB_TOKEN=github.token(), GITHUB_REF_NAME="main")
        monkeypatch.chdir(folder)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def patch(self, owner: object, name: str, value: object) -> None:
        self._monkeypatch.setattr(owner, name, value)

    @property
    def repository(self) -> Repository:
        return client.repository(self.github.repository, os.environ["GITHUB_TOKEN"])

    def propose(self, head: str) -> int:
        """Opens a pull request; returns its number."""
        return self.github.pulls.propose(7, head, "b" * 40)["number"]

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
    needs: dict[str, Any] = {"count": {"result": "success"}}
    for run, result in enumerate(("failure", "failure", "success"), 1):
        needs["count"]["result"] = result
        stage.ci("incident", NEEDS=json.dumps(needs), GITHUB_WORKFLOW="collected data", GITHUB_RUN_ID=f"{run}")


def route(stage: Stage) -> None:
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message=one"]):
        author = ["-c", "user.name=spanloop", "-c", "user.email="]
        subprocess.run(["git", *author, *command], cwd=stage.folder, check=True)
    stage.github.deployments.add("vertex-ai", "a" * 40, "in_progress", "success", "inactive")
    stage.github.deployments.add("vertex-ai", "b" * 40, "failure")
    stage.ci("route", "--deployed", "--head", "HEAD")


def release(stage: Stage) -> None:
    remote = stage.github.releases
    model = stage.folder / "model"
    put(model, {"saved_model.pb": EMPTY_MODEL, "variables/variables.index": b"an index"})
    releases = open_releases(f"github:{stage.github.repository}")

    def publish(identity: str, commit: str, attach: Callable[[Release], dict[str, bytes]]) -> Release:
        details = {"modules_digest": "a" * 64, "spans": [1], "labels": ["cat", "dog"], "metrics": {"accuracy": 0.9}}
        return releases.publish(
            str(model),
            identity=identity,
            commit=commit,
            previous=None,
            image="",
            attach=attach,
            describe=lambda release: f"**{release.tag}**",
            **details,
        )

    def another_client_takes_the_tag(release: Release) -> dict[str, bytes]:
        if release.tag == "model-2":
            remote.add(release.tag, {})
        return {"model-card.md": b"# A card"}

    remote.failing_uploads = 1
    assert publish("one", remote.head, lambda release: {}).tag == "model-1"
    assert publish("two", "b" * 40, another_client_takes_the_tag).tag == "model-3"
    assert publish("two", "not committed", lambda release: {}).tag == "model-3"
    releases.fetch(releases.newest(), str(stage.folder / "fetched"))
    with pytest.raises(ReleaseNotFound):
        releases.get("model-99")


def attest(stage: Stage) -> None:
    folder, model = stage.folder / "releases", stage.folder / "model"
    put(model, {"saved_model.pb": EMPTY_MODEL})
    made = {"commit": "", "modules_digest": "", "labels": ["cat"], "metrics": Metrics(), "previous": None}
    local = open_releases(str(folder)).publish(str(model), identity="one", spans=[1], **made)
    stage.github.releases.add(local.tag, {path.name: path.read_bytes() for path in (folder / local.tag).iterdir()})
    releases = open_releases(f"github:{stage.github.repository}")
    for attested in ((), local.files.values()):
        stage.github.attestations.attested.update(attested)
        unattested(releases, stage.github.repository, os.environ["GITHUB_TOKEN"])


def branch_rules(stage: Stage) -> None:
    config = Config(releases=f"github:{stage.github.repository}", github_token=os.environ["GITHUB_TOKEN"])
    for rules in ((), repository.NEEDED):
        stage.github.about.rules = list(rules)
        with contextlib.suppress(Missing):
            repository.branch_rules(Context(config, Rest(None), "user@example.com"))
    repository.read_token(stage.github.repository, os.environ["GITHUB_TOKEN"])


def publish_for_devices(stage: Stage) -> None:
    place = GitHubPlace(stage.github.repository, os.environ["GITHUB_TOKEN"])
    put(stage.folder, {"manifest.json": b"{}"})
    place.create("devices/classification/model-1/manifest.json", str(stage.folder / "manifest.json"))
    pointer = "devices/classification/channels/stable.json"
    for content in (b"1", b"2"):
        place.replace(pointer, content)
        place.read(pointer)


class StillTaken(Exception):
    """The lock of the channels is not there, which it never is where answers are examples."""


def lock_channels(stage: Stage) -> None:
    def give_up(seconds: float) -> None:
        raise StillTaken

    stage.patch(device_github, "time", types.SimpleNamespace(sleep=give_up))
    with contextlib.suppress(StillTaken), GitHubPlace(stage.github.repository, os.environ["GITHUB_TOKEN"]).exclusive():
        assert stage.github.releases.published()


def set_up(stage: Stage) -> None:
    assert workflows.read(stage.github.repository, os.environ["GITHUB_TOKEN"]).number


def comment(stage: Stage) -> None:
    pull, head = stage.repository.get_pull(stage.propose("c" * 40)), "c" * 40
    comments.keep(stage.repository, pull.number, head, "# First")
    pull.create_issue_comment(f"{comments.MARKER}\nof a run at the same time")
    comments.keep(stage.repository, pull.number, head, "# Second, \N{CHECK MARK}")
    comments.keep(stage.repository, pull.number, "d" * 40, "# Of an older commit")


def other_calls(stage: Stage) -> None:
    """Calls of endpoints that only tests and other clients of the local GitHub use."""
    stage.github.actions.workflows["evaluation.yml"] = set()
    run = stage.github.actions.add_run("evaluation.yml", "a" * 40, "success")
    stage.github.releases.add("model-1", {})
    workflow = stage.repository.get_workflow("evaluation.yml")
    assert workflow.name and list(workflow.get_runs(status="success"))
    assert list(stage.repository.get_workflow_runs()) and stage.repository.get_workflow_run(run).status
    assert stage.repository.get_latest_release().tag_name
    _, limits = stage.repository.requester.requestJsonAndCheck("GET", "/rate_limit")
    assert limits["rate"]["limit"]
    issue = stage.repository.create_issue("Anything")
    assert stage.repository.get_issue(issue.number).title
    assert issue.get_comment(issue.create_comment("A word").id).body


SCENARIOS: tuple[Callable[[Stage], None], ...] = (
    check_schedule,
    dispatch,
    incident,
    route,
    release,
    attest,
    branch_rules,
    publish_for_devices,
    lock_channels,
    set_up,
    comment,
    other_calls,
)
