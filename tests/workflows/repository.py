"""A repository on the local GitHub: what happens to it runs its workflows, and what these start runs after them."""

import collections
import json
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.clone import ROOT, Clone
from tests.emulators.cloud import Cloud
from tests.emulators.github.actions import ID_TOKENS, Dispatch
from tests.emulators.vertex.workers import SETTINGS
from tests.workflows import act, definitions
from tests.workflows.definitions import Definition
from tests.workflows.events import DEFAULT, Event, Events
from tests.workflows.run import Run

# Of the unit tests a few, for they are run again and again; what they test is plain to see.
TESTS = "tests/ci/test_wording.py"


class Repository:
    """A clone, its variables, and who pushes to it. Every method that makes something happen returns the run of it."""

    def __init__(self, cloud: Cloud, folder: pathlib.Path, variables: dict[str, str] | None = None):
        self.cloud, self._folder = cloud, folder
        self.clone = Clone(folder / "clone")
        self.clone.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.variables = variables or {}
        self.runs: list[Run] = []
        self._events = Events(cloud.github.repository)
        self._waiting: collections.deque[Dispatch] = collections.deque()
        self._pushed = "0" * 40
        cloud.github.actions.dispatch = self._waiting.append
        self._tell_buttons()

    # What happens

    def push(self, message: str = "a change", workflow: str = "cd.yml") -> Run:
        """Commits what was changed in the clone, and pushes it."""
        before, self._pushed = self._pushed, self.clone.commit(message)
        self._tell_buttons()
        return self._run(workflow, "push", self._events.push(before, self._pushed))

    def propose(self, number: int, message: str = "a change", fork: str = "", action: str = "opened") -> Run:
        """Commits what was changed to a pull request's branch, which may be in a fork, and pushes it there."""
        git, base, branch = self.clone.git, self.clone.head(), f"change-{number}"
        try:
            git("stash", "--quiet", "--include-untracked")
            git("switch", "--quiet", *([branch] if action == "synchronize" else ["--create", branch]))
            git("stash", "pop", "--quiet")
            head = self.clone.commit(message)
            # What GitHub has a pull request's workflows run on: the branch, merged into the one it is for.
            git("switch", "--quiet", "--detach", DEFAULT)
            git("merge", "--quiet", "--no-ff", "--message", f"Merge {head} into {base}", head)
            self.cloud.github.pulls.propose(number, head, base, fork)
            event = self._events.pull_request(number, head, base, fork, action)
            run = self._run("ci.yml", "pull_request", event, head=head, fork=fork)
        finally:
            git("switch", "--quiet", DEFAULT)
        self._follow(run, event["pull_request"], fork)
        return run

    def tick(self, workflow: str) -> Run:
        """The clock starts a workflow."""
        (entry,) = self._definitions()[workflow].triggers()["schedule"]
        return self._run(workflow, "schedule", self._events.schedule(entry["cron"]))

    def press(self, workflow: str, **inputs: str) -> Run:
        """Somebody starts a workflow; switches are "true" or "false"."""
        return self._run(workflow, "workflow_dispatch", self._dispatched(workflow, inputs))

    def press_twice(self, workflow: str, **inputs: str) -> list[Run]:
        """Two runs of a workflow at the same time, which GitHub's queues keep apart, if nothing goes wrong there."""
        event = self._dispatched(workflow, inputs)
        with ThreadPoolExecutor(2) as together:
            runs = [together.submit(self._run, workflow, "workflow_dispatch", event) for _ in range(2)]
        return [run.result() for run in runs]

    # What follows

    def _run(self, workflow: str, event_name: str, event: Event, head: str = "", fork: str = "") -> Run:
        """Runs a workflow, and after it what it has dispatched."""
        definition, actions = self._definitions()[workflow], self.cloud.github.actions
        if event_name not in definition.triggers():
            raise AssertionError(f"{workflow} is not started by {event_name}")
        permissions = definition.permissions()
        if fork:
            permissions = {scope: "read" for scope in permissions if scope != "id-token"}
        head = head or self.clone.head()
        number = actions.add_run(workflow, head, "", event_name)
        told = next(run for run in actions.runs if run["id"] == number)
        told.update(name=definition.name, status="in_progress", conclusion=None)
        token = self.cloud.github.token(**permissions)
        run = act.execute(self._setting(permissions, fork), workflow, event_name, event, number, token)
        told.update(status="completed", conclusion=run.conclusion)
        self.runs.append(run)
        for job, environment in definition.environments().items():
            if run.results.get(job, "skipped") != "skipped":
                self.cloud.github.deployments.add(environment, head, "in_progress", run.results[job])
        while self._waiting:
            dispatch = self._waiting.popleft()
            inputs = {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in dispatch.inputs.items()
            }
            run.started.append(
                self._run(dispatch.workflow, "workflow_dispatch", self._dispatched(dispatch.workflow, inputs))
            )
        return run

    def _follow(self, run: Run, pull_request: Any, fork: str) -> None:
        """Runs, on the default branch, the workflows that wait for the end of such a run."""
        told = next(told for told in self.cloud.github.actions.runs if told["id"] == run.id)
        event = self._events.workflow_run(
            {**told, "head_branch": "change"}, [] if fork else [pull_request], fork or self.cloud.github.repository
        )
        for file, definition in self._definitions().items():
            if told["name"] in definition.triggers().get("workflow_run", {}).get("workflows", ()):
                run.started.append(self._run(file, "workflow_run", event))

    def _dispatched(self, workflow: str, inputs: dict[str, str]) -> Event:
        unknown = set(inputs) - (self._definitions()[workflow].inputs() or set())
        assert not unknown, f"{workflow} does not ask for {unknown}"
        return self._events.workflow_dispatch(inputs)

    def _definitions(self) -> dict[str, Definition]:
        return definitions.read(self.clone.folder)

    def _tell_buttons(self) -> None:
        """Lets GitHub know what can be dispatched."""
        found = {file: definition.inputs() for file, definition in self._definitions().items()}
        self.cloud.github.actions.workflows = {file: inputs for file, inputs in found.items() if inputs is not None}

    def _setting(self, permissions: dict[str, str], fork: str) -> act.Setting:
        """What a runner gives to jobs. Of Google Cloud it has nothing but the way there."""
        environment = {
            name: value
            for name, value in self.cloud.environment.items()
            if name not in SETTINGS and not name.startswith("GOOGLE_")
        }
        environment |= {"TESTS": TESTS, "STAND_IN_VENV": str(ROOT / ".venv")}
        # jobs are on a terminal here
        environment |= {"NO_COLOR": "1", "GIT_PAGER": "cat", "TERM": "dumb"}
        if permissions.get("id-token") == "write":
            environment["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{ID_TOKENS}?api-version=2.0"
            environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = self.cloud.github.actions.job_token
        variables = {} if fork else self.variables
        return act.Setting(self.clone.folder, self._folder, self.cloud.github.repository, variables, environment)
