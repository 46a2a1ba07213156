"""Workflows, their dispatches and runs, and the identity tokens of jobs (OIDC)."""

import itertools
import json
import secrets
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.emulators.github.answers import AuthorizedRequest, GitHubRefused, answer, not_found, nothing
from tests.emulators.github.endpoints import REPOSITORY, Endpoint
from tests.emulators.services import Response

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud
    from tests.emulators.github.service import GitHub

ISSUER = "https://token.actions.githubusercontent.com"
ID_TOKENS = "https://pipelines.actions.githubusercontent.com/id-token"  # the address that a runner gives to its job
MOST_INPUTS = 25


class Dispatch(NamedTuple):
    """A workflow started by the API."""

    workflow: str
    ref: str
    inputs: dict[str, Any]


class Actions:
    """`dispatch` is called with each accepted dispatch; `workflows` are the files that can be dispatched."""

    def __init__(self, github: "GitHub", cloud: "Cloud"):
        self._github, self._cloud = github, cloud
        self.workflows: dict[str, set[str]] = {}  # {file: names of its inputs}
        self.dispatched: list[Dispatch] = []
        self.dispatch: Callable[[Dispatch], object] = lambda dispatch: None
        self.runs: list[dict[str, Any]] = []
        self.job_token = secrets.token_hex(8)  # the credential with which a job requests an identity token
        self.environment: Callable[[str, str], str] = lambda workflow, job: ""  # of a job, "" without one
        self._ids = itertools.count(1)

    def add_run(self, workflow: str, sha: str, conclusion: str, event: str = "push", created: str = "") -> int:
        """Adds a completed run of a workflow."""
        number = next(self._ids)
        self.runs.append(
            {
                "id": number,
                "name": workflow,
                "path": f".github/workflows/{workflow}",
                "head_sha": sha,
                "head_branch": self._github.default_branch,
                "event": event,
                "status": "completed",
                "conclusion": conclusion,
                "created_at": created or "2026-01-01T00:00:00Z",
                "html_url": self._github.page(f"/actions/runs/{number}"),
                "url": self._github.address(f"/actions/runs/{number}"),
            }
        )
        return number

    def endpoints(self) -> list[Endpoint]:
        workflow, runs = f"{REPOSITORY}/actions/workflows/{{workflow}}", f"{REPOSITORY}/actions/runs"
        return [
            Endpoint("GET", workflow, "actions/get-workflow", "actions:read", self.get),
            Endpoint(
                "POST",
                f"{workflow}/dispatches",
                "actions/create-workflow-dispatch",
                "actions:write",
                self.create_dispatch,
            ),
            Endpoint("GET", f"{workflow}/runs", "actions/list-workflow-runs", "actions:read", self.list_runs),
            Endpoint("GET", runs, "actions/list-workflow-runs-for-repo", "actions:read", self.list_all_runs),
            Endpoint("GET", f"{runs}/{{run_id}}", "actions/get-workflow-run", "actions:read", self.get_run),
            Endpoint("GET", "/id-token", "id-token", "", self.id_token),
        ]

    def get(self, call: AuthorizedRequest, workflow: str) -> Response:
        self._known(workflow)
        path = f"/actions/workflows/{workflow}"
        found = {"id": 1, "name": workflow, "path": f".github/workflows/{workflow}", "state": "active"}
        return answer(found | {"url": self._github.address(path)})

    def create_dispatch(self, call: AuthorizedRequest, workflow: str) -> Response:
        self._known(workflow)
        body = call.fields("WorkflowDispatch", ref_=str, inputs=dict, return_run_details=bool)
        inputs = body.get("inputs") or {}
        unexpected = sorted(set(inputs) - self.workflows[workflow])
        if unexpected or len(inputs) > MOST_INPUTS:
            raise GitHubRefused(422, f"Unexpected inputs provided: {json.dumps(unexpected)}")
        if body["ref"].removeprefix("refs/heads/") != self._github.default_branch:
            raise GitHubRefused(422, f"No ref found for: {body['ref']}")
        dispatch = Dispatch(workflow, body["ref"], inputs)
        self.dispatched.append(dispatch)
        self.dispatch(dispatch)
        return nothing()

    def list_runs(self, call: AuthorizedRequest, workflow: str) -> Response:
        self._known(workflow)
        return self._runs(call, [run for run in self.runs if run["path"].endswith(f"/{workflow}")])

    def list_all_runs(self, call: AuthorizedRequest) -> Response:
        return self._runs(call, self.runs)

    def get_run(self, call: AuthorizedRequest, run_id: str) -> Response:
        found = [run for run in self.runs if str(run["id"]) == run_id]
        if not found:
            raise not_found()
        return answer(found[0])

    def _runs(self, call: AuthorizedRequest, runs: list[dict[str, Any]]) -> Response:
        """The runs that the query selects, newest first."""
        query = call.request.parameters()
        status = query.get("status", "")
        found = [
            run
            for run in reversed(runs)
            if query.get("head_sha", run["head_sha"]) == run["head_sha"]
            and status in ("", run["conclusion"], run["status"])
            and query.get("branch", run["head_branch"]) == run["head_branch"]
            and query.get("event", run["event"]) == run["event"]
        ]
        return call.page(found, lambda rows: {"total_count": len(found), "workflow_runs": rows})

    def id_token(self, call: AuthorizedRequest) -> Response:
        """Issues a token that proves a job's repository, branch and environment to other services.

        The query names the workflow and the job, which on GitHub the credential is for. Claims:
        https://docs.github.com/en/actions/reference/security/oidc
        """
        if call.request.headers.get("authorization", "").lower() != f"bearer {self.job_token}":
            raise GitHubRefused(401, "Unauthorized")
        query, branch = call.request.parameters(), f"refs/heads/{self._github.default_branch}"
        audience = urllib.parse.unquote(query.get("audience", self._github.page("")))
        environment = self.environment(query.get("workflow", ""), query.get("job", ""))
        about = f"environment:{environment}" if environment else f"ref:{branch}"
        claims = {
            "ref": branch,
            "repository": self._github.repository,
            "repository_id": "1",
            "repository_owner_id": "1",
            "run_id": f"{len(self.runs)}",
            **({"environment": environment} if environment else {}),
        }
        subject = f"repo:{self._github.repository}:{about}"
        return answer({"value": self._cloud.oauth.identity(ISSUER, subject, audience, **claims)})

    def _known(self, workflow: str) -> None:
        if workflow not in self.workflows:
            raise not_found()
