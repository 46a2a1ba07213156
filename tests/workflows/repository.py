"""A repository on the local GitHub: events run its workflows, and the workflows that these start."""

import collections
import hashlib
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

# Of the unit tests a few, for they are run again and again, in one process; what they test is plain to see.
TESTS = "--numprocesses=0 tests/ci/test_formatting.py"


class Repository:
    """A clone with variables. Each event is a method that returns the run that it starts."""

    def __init__(self, cloud: Cloud, folder: pathlib.Path, variables: dict[str, str] | None = None):
        self.cloud, self._folder = cloud, folder
        self.clone = Clone(folder / "clone")
        self.clone.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.clone.git("repack", "-a", "-d", "--quiet")  # each job fetches it, which packed takes a third of the time
        self.variables = variables or {}
        self.tokens: dict[int, dict[str, str]] = {}  # {run: permissions of its token}
        self._events = Events(cloud.github.repository)
        cloud.github.actions.environment = self._environment
        self._waiting: collections.deque[Dispatch] = collections.deque()
        self._pushed = self.clone.head()
        cloud.github.actions.dispatch = self._waiting.append
        self._arrive(self._pushed)

    # Events

    def push(self, message: str = "a change", workflow: str = "cd.yml") -> Run:
        """Commits and pushes all changes in the clone."""
        before, self._pushed = self._pushed, self.clone.commit(message)
        self._arrive(self._pushed)
        return self._run(workflow, "push", self._events.push(before, self._pushed))

    def propose(self, number: int, message: str = "a change", fork: str = "", action: str = "opened") -> Run:
        """Commits all changes to the branch of a pull request, which may be in a fork, and pushes it."""
        git, base, branch = self.clone.git, self.clone.head(), f"change-{number}"
        try:
            git("stash", "--quiet", "--include-untracked")
            git("switch", "--quiet", *([branch] if action == "synchronize" else ["--create", branch]))
            git("stash", "pop", "--quiet")
            head = self.clone.commit(message)
            # Workflows of a pull request run on its branch merged into the base branch.
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
        """Starts a workflow by its schedule."""
        (entry,) = self._definitions()[workflow].triggers()["schedule"]
        return self._run(workflow, "schedule", self._events.schedule(entry["cron"]))

    def press(self, workflow: str, **inputs: str) -> Run:
        """Starts a workflow by hand; boolean inputs are "true" or "false"."""
        return self._run(workflow, "workflow_dispatch", self._dispatched(workflow, inputs))

    def press_during_next_run(self, workflow: str, **inputs: str) -> None:
        """Starts a workflow by hand during the next run: it runs in parallel with those that that run starts."""
        self._waiting.append(Dispatch(workflow, DEFAULT, inputs))

    # Results

    def artifacts(self, run: Run) -> dict[str, dict[str, str]]:
        """The files of each artifact of a run, with their sha256."""
        folder = self._folder / act.LEFT / "artifacts" / f"{run.id}"
        return {artifact.name: _digests(artifact) for artifact in sorted(folder.iterdir())} if folder.exists() else {}

    def attested(self) -> list[str]:
        """The sha256 of all attested files."""
        attested = self._folder / act.LEFT / "attested"
        return [line.split()[0] for line in attested.read_text().splitlines()] if attested.exists() else []

    # Execution

    def _run(self, workflow: str, event_name: str, event: Event, head: str = "", fork: str = "") -> Run:
        """Runs a workflow, then the workflows that it dispatched."""
        definition, actions = self._definitions()[workflow], self.cloud.github.actions
        if event_name not in definition.triggers():
            raise AssertionError(f"{workflow} is not started by {event_name}")
        permissions = definition.permissions()
        if fork:
            permissions = {scope: "read" for scope in permissions if scope != "id-token"}
        head = head or self.clone.head()
        number = actions.add_run(workflow, head, "", event_name)
        listed = next(run for run in actions.runs if run["id"] == number)
        listed.update(name=definition.name, status="in_progress", conclusion=None)
        self.tokens[number] = permissions
        token = self.cloud.github.token(**permissions)
        run = act.execute(self._setting(workflow, permissions, fork), workflow, event_name, event, number, token)
        listed.update(status="completed", conclusion=run.conclusion)
        self.cloud.github.attestations.attested.update(self.attested())
        for job, environment in definition.environments().items():
            if run.results.get(job, "skipped") != "skipped":
                self.cloud.github.deployments.add(environment, head, "in_progress", run.results[job])
        self._run_waiting(run)
        return run

    def _run_waiting(self, cause: Run) -> None:
        """Runs dispatched workflows in parallel, because `act` has no concurrency groups."""
        dispatches = [self._waiting.popleft() for _ in range(len(self._waiting))]
        with ThreadPoolExecutor(max(1, len(dispatches))) as together:
            cause.started += together.map(self._run_dispatched, dispatches)

    def _run_dispatched(self, dispatch: Dispatch) -> Run:
        inputs = {
            name: given if isinstance(given, str) else json.dumps(given) for name, given in dispatch.inputs.items()
        }
        return self._run(dispatch.workflow, "workflow_dispatch", self._dispatched(dispatch.workflow, inputs))

    def _follow(self, run: Run, pull_request: Any, fork: str) -> None:
        """Runs, on the default branch, the workflows that the end of this run starts (`workflow_run`)."""
        listed = next(each for each in self.cloud.github.actions.runs if each["id"] == run.id)
        event = self._events.workflow_run(
            {**listed, "head_branch": "change"}, [] if fork else [pull_request], fork or self.cloud.github.repository
        )
        for file, definition in self._definitions().items():
            if listed["name"] in definition.triggers().get("workflow_run", {}).get("workflows", ()):
                run.started.append(self._run(file, "workflow_run", event))

    def _dispatched(self, workflow: str, inputs: dict[str, str]) -> Event:
        unknown = set(inputs) - (self._definitions()[workflow].inputs() or set())
        assert not unknown, f"{workflow} has no inputs {unknown}"
        return self._events.workflow_dispatch(inputs)

    def _definitions(self) -> dict[str, Definition]:
        return definitions.read(self.clone.folder)

    def _arrive(self, commit: str) -> None:
        """Makes GitHub know a commit of the default branch, and its workflows with `workflow_dispatch`."""
        self.cloud.github.releases.commits.add(commit)
        self.cloud.github.releases.head = commit
        found = {file: definition.inputs() for file, definition in self._definitions().items()}
        self.cloud.github.actions.workflows = {file: inputs for file, inputs in found.items() if inputs is not None}

    def _environment(self, workflow: str, job: str) -> str:
        """The environment that a job of a workflow, or of one that it calls, names; "" for none."""
        named = self._definitions()[workflow].environments()
        return next((environment for name, environment in named.items() if name.rpartition("/")[2] == job), "")

    def _setting(self, workflow: str, permissions: dict[str, str], fork: str) -> act.Setting:
        """The surroundings of jobs: routes to the local Google Cloud, but no credentials or settings for it."""
        environment = {
            name: value
            for name, value in self.cloud.environment.items()
            if name not in SETTINGS and not name.startswith("GOOGLE_")
        }
        environment |= {"TESTS": TESTS, "STAND_IN_VENV": str(ROOT / ".venv"), "NPM": "true", "CHROMIUM": "true"}
        # act runs jobs on a terminal
        environment |= {"NO_COLOR": "1", "GIT_PAGER": "cat", "TERM": "dumb"}
        if permissions.get("id-token") == "write":
            environment["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{ID_TOKENS}?api-version=2.0&workflow={workflow}"
            environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = self.cloud.github.actions.job_token
        variables = {} if fork else self.variables
        return act.Setting(self.clone.folder, self._folder, self.cloud.github.repository, variables, environment)


def _digests(folder: pathlib.Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
