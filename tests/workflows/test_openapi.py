"""Validates every call of GitHub's API that the project makes against GitHub's own description."""

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema
import pytest

from pipeline.errors import GitHubRefused
from tests.containers import CannotRun
from tests.emulators.cloud import Cloud
from tests.emulators.github.endpoints import Endpoint, Exchange
from tests.test_repository import ROOT, belongs, imports, sources, tree
from tests.workflows import prism as servers
from tests.workflows import scenarios
from tests.workflows.openapi import Description, shape
from tests.workflows.scenarios import SCENARIOS, Stage

RUNNERS_OWN = "id-token"  # a method of the job's runner, not of the API
REPOSITORY = "/repos/acme/widget"
JSON = {"Content-Type": "application/json"}
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
OF_THE_CONNECTION = ("host", "connection", "content-length", "accept-encoding", "authorization")
EVERYWHERE = {"per_page"}  # PyGithub adds it to all lists, also to those without pages
READY = ("GET", f"{REPOSITORY}/issues")  # a call that succeeds


def endpoints(cloud: Cloud) -> list[Endpoint]:
    """The endpoints of the local GitHub that are part of the API."""
    found = [endpoint for part in cloud.github.parts() for endpoint in getattr(cloud.github, part).endpoints()]
    return [endpoint for endpoint in found if endpoint.method != RUNNERS_OWN]


@pytest.fixture(scope="module")
def packages():
    return servers.installed()


@pytest.fixture(scope="module")
def description(packages) -> Description:
    return Description(packages / servers.GITHUB)


@pytest.fixture(scope="module")
def prism(packages, description, cloud_servers):
    used = {endpoint.method for endpoint in endpoints(cloud_servers)} & set(description.methods)
    with servers.serving(packages, lambda address: description.trimmed(used, address), READY) as prism:
        yield prism


class Executed(NamedTuple):
    """Requests and responses of each scenario, and the functions that they called, by file and name."""

    exchanges: dict[str, list[Exchange]]
    called: set[tuple[str, str]]


@pytest.fixture(scope="module")
def executed(cloud_servers, tmp_path_factory) -> Executed:
    found = Executed({}, set())
    for scenario in SCENARIOS:
        cloud_servers.reset()
        with pytest.MonkeyPatch.context() as monkeypatch, recorded_calls(found.called):
            for name, value in cloud_servers.environment.items():
                monkeypatch.setenv(name, value)
            scenario(Stage(cloud_servers.github, monkeypatch, tmp_path_factory.mktemp("scenario")))
        found.exchanges[scenario.__name__] = list(cloud_servers.github.exchanges)
    return found


@pytest.fixture(scope="module")
def exchanges(executed) -> dict[str, list[Exchange]]:
    return executed.exchanges


@contextlib.contextmanager
def recorded_calls(called: set[tuple[str, str]]) -> Iterator[None]:
    """Adds every function that is called in this context to `called`."""

    def record(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_name))

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def callers_of_github() -> set[tuple[str, str]]:
    """The project's functions that call GitHub, by file and name, recognised by `with github_errors(...)`."""
    return {
        (str(ROOT / path), function.name)
        for path in sources("ci", "pipeline")
        if any(belongs(name, ("pipeline.github.client",)) for name in imports(path))
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef)
        for block in ast.walk(function)
        if isinstance(block, ast.With)
        for item in block.items
        if re.match(r"(github_client\.|client\.)?github_errors\(", ast.unparse(item.context_expr))
    }


def test_the_scenarios_execute_every_function_that_calls_github(executed):
    callers = callers_of_github()
    left_out = callers - executed.called
    assert callers and not left_out


def check(answer: Any, schema: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError."""
    jsonschema.validate(answer, schema, jsonschema.Draft202012Validator)


def distinct(exchanges: list[Exchange]) -> Iterator[tuple[Exchange, str]]:
    """Calls that differ, with path and query of each."""
    seen = set()
    for exchange in exchanges:
        request = exchange.request
        target = f"{request.path}?{request.query}" if request.query else request.path
        call = (request.verb, target, request.body, request.headers.get("content-type"))
        if call not in seen:
            seen.add(call)
            yield exchange, target


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_every_call_is_accepted(scenario, exchanges, prism, description):
    assert exchanges[scenario]
    for (endpoint, request, _), target in distinct(exchanges[scenario]):
        headers = {name: value for name, value in request.headers.items() if name not in OF_THE_CONNECTION}
        refused = prism.call(request.verb, target, request.body, headers).refused
        assert not refused, f"{endpoint.method}: {request.verb} {target} {request.body[:500]!r}"

        query, fields = description.fields(endpoint.method)
        assert request.parameters().keys() <= query | EVERYWHERE, f"GitHub ignores unknown parameters: {target}"
        if request.headers.get("content-type") == JSON["Content-Type"]:
            assert request.json().keys() <= fields, f"GitHub ignores unknown fields: {request.body!r}"


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_the_local_github_sends_only_responses_that_github_can_send(scenario, exchanges, description):
    for endpoint, _, response in exchanges[scenario]:
        schemas = description.answers(endpoint.method)
        # Methods do not describe all errors, such as those of a tag in use or of every call.
        assert (
            response.status in schemas or response.status >= 400
        ), f"{endpoint.method} never answers {response.status}"
        if schema := schemas[response.status] if response.status < 400 else description.refusal():
            check(json.loads(response.body), schema)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_project_understands_githubs_example_responses(scenario, prism, cloud, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_API_URL", prism.address)
    # Prism has no state: its example of a release has other files than those that were sent.
    end = (
        pytest.raises(GitHubRefused, match="did not arrive as sent")
        if scenario is scenarios.release
        else contextlib.nullcontext()
    )
    with end:
        scenario(Stage(cloud.github, monkeypatch, tmp_path))
    assert not cloud.github.exchanges


def test_the_scenarios_call_every_endpoint_of_the_local_github(exchanges, cloud):
    seen = {exchange.endpoint.method for each in exchanges.values() for exchange in each}
    unused = {endpoint.method for endpoint in endpoints(cloud)} - seen
    assert not unused


def test_every_endpoint_of_the_local_github_exists_on_github(cloud, description):
    shapes = {method: found.shape for method, found in description.methods.items()}
    invented = [
        f"{endpoint.verb} {endpoint.path} is not {endpoint.method}"
        for endpoint in endpoints(cloud)
        if shapes.get(endpoint.method) != shape(endpoint.verb, endpoint.path)
    ]
    assert not invented


@pytest.mark.parametrize(
    "verb, path, body, why",
    [
        ("POST", "/issues", {"title": ["a list"]}, "title must be string"),
        ("POST", "/issues", {"body": "without a title"}, "must have required property 'title'"),
        ("POST", "/issues", None, "Body parameter is required"),
        ("PATCH", "/issues/1", {"state": "ajar"}, "state must be equal to one of the allowed values: open, closed"),
        ("PATCH", "/issues/one", {"state": "open"}, "issue_number must be integer"),
        ("GET", "/issues?state=ajar", None, "state must be equal to one of the allowed values: open, closed, all"),
        ("GET", "/issues?per_page=many", None, "per_page must be integer"),
        ("POST", "/actions/workflows/evaluation.yml/dispatches", {"inputs": {}}, "must have required property 'ref'"),
        (
            "POST",
            "/actions/workflows/evaluation.yml/dispatches",
            {"ref": "main", "inputs": "spans=1"},
            "inputs must be object",
        ),
        ("POST", "/releases", {"tag_name": "model-1", "make_latest": "no"}, "make_latest must be equal to one of"),
        ("POST", "/releases", {"tag_name": "model-1", "draft": "yes"}, "draft must be boolean"),
        ("POST", "/releases/1/assets?name=model.json", {}, "Supported content types: application/octet-stream"),
        ("GET", "/actions/workflow/evaluation.yml", None, "hasn't been found in the specification"),
        ("DELETE", "/issues/1", None, 'does not have "delete" method'),
    ],
)
def test_a_wrong_call_is_refused(prism, verb, path, body, why):
    reply = prism.call(verb, REPOSITORY + path, json.dumps(body).encode() if body is not None else b"", JSON)
    assert why in reply.refused and reply.status >= 400


def test_every_body_is_validated(prism, cloud, description):
    """Prism silently skips a body whose schema it does not support."""
    with_body = [endpoint for endpoint in endpoints(cloud) if description.fields(endpoint.method)[1]]
    assert with_body
    for endpoint in with_body:
        path = re.sub(r"\{\w+\}", "1", endpoint.path)
        for wrong in (b"[]", b"1", b'"text"'):
            refused = prism.call(endpoint.verb, path, wrong, JSON).refused
            assert "must be object" in refused, f"{endpoint.method} with {wrong!r}"


@pytest.mark.parametrize(
    "method, answer, why",
    [
        ("issues/get", {"number": "1"}, "'1' is not of type 'integer'"),
        ("issues/get", {"labels": [{"name": 1}]}, "1 is not of type 'string'"),
        ("issues/list-for-repo", {"number": 1}, "is not of type 'array'"),
        ("issues/get", {"invented": 1}, "'invented' was unexpected"),
        ("actions/list-workflow-runs", {"workflow_runs": [{"conclusion": 0}]}, "0 is not of type 'string', 'null'"),
        ("pulls/get", {"head": {"commit": "abc"}}, "'commit' was unexpected"),
        ("pulls/get", {"state": "ajar"}, "'ajar' is not one of"),
    ],
)
def test_a_response_that_github_does_not_send_is_found(description, method, answer, why):
    with pytest.raises(jsonschema.ValidationError, match=re.escape(why)):
        check(answer, description.answers(method)[200])


def test_prism_ends_when_the_tests_fail(packages, description):
    def describe(address: str) -> dict[str, Any]:
        return description.trimmed(["issues/list-for-repo"], address)

    with pytest.raises(ZeroDivisionError), servers.serving(packages, describe, READY) as prism:
        assert prism.call(*READY).status == 200
        raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        prism.call(*READY)


def test_prism_ends_when_the_tests_are_killed(packages, tmp_path):
    program = """
        from tests.workflows import prism
        paths = {"/": {"get": {"responses": {"204": {"description": "nothing"}}}}}
        minimal = {"openapi": "3.0.3", "info": {"title": "one path", "version": "1"}, "paths": paths}
        with prism.serving(prism.installed(), lambda address: minimal, ("GET", "/")) as server:
            print(server.address, flush=True)
            input()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, **PIPES) as tests:
        prism = servers.Prism(int(tests.stdout.readline().rpartition(b":")[2]))
        assert prism.call(*READY).status == 404
        tests.kill()
    until = time.monotonic() + 30
    with pytest.raises(ConnectionError):
        while time.monotonic() < until:
            prism.call(*READY)
            time.sleep(0.05)


def test_an_invalid_description_is_reported(packages):
    with pytest.raises(CannotRun, match="does not serve"), servers.serving(packages, lambda address: {}, READY):
        pass


def test_without_node_the_next_step_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="node and npm not found: install Node.js"):
        servers.installed()


def test_when_npm_fails_the_error_has_its_output_and_no_files_are_left(monkeypatch, tmp_path):
    for name, script in {"node": "exit 0", "npm": "echo 'npm error: no network' >&2; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="(?s)check Node.js .* and the network.*no network"):
        servers.installed()
    assert not list((tmp_path / "cache/spanloop/node").iterdir())
