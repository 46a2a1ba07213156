"""Every call that we make of GitHub's API, held against GitHub's own description of it."""

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
from tests.workflows import asking
from tests.workflows import prism as servers
from tests.workflows.asking import PLAYS, Stage
from tests.workflows.openapi import Description, shape

RUNNERS_OWN = "id-token"  # a job asks its runner for it: no part of the API
REPOSITORY = "/repos/acme/widget"
JSON = {"Content-Type": "application/json"}
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
OF_THE_CONNECTION = ("host", "connection", "content-length", "accept-encoding", "authorization")
EVERYWHERE = {"per_page"}  # PyGithub adds it to all lists, also to one that has no pages
READY = ("GET", f"{REPOSITORY}/issues")  # a call that Prism answers


def endpoints(cloud: Cloud) -> list[Endpoint]:
    """What the stand-in for GitHub answers, of the API."""
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


class Played(NamedTuple):
    """What plays asked the stand-in and were answered, and which functions they called, by file and name."""

    asked: dict[str, list[Exchange]]
    called: set[tuple[str, str]]


@pytest.fixture(scope="module")
def played(cloud_servers, tmp_path_factory) -> Played:
    found = Played({}, set())
    for play in PLAYS:
        cloud_servers.reset()
        with pytest.MonkeyPatch.context() as monkeypatch, noted(found.called):
            for name, value in cloud_servers.environment.items():
                monkeypatch.setenv(name, value)
            play(Stage(cloud_servers.github, monkeypatch, tmp_path_factory.mktemp("play")))
        found.asked[play.__name__] = list(cloud_servers.github.exchanges)
    return found


@pytest.fixture(scope="module")
def asked(played) -> dict[str, list[Exchange]]:
    return played.asked


@contextlib.contextmanager
def noted(called: set[tuple[str, str]]) -> Iterator[None]:
    """Adds every function that is called meanwhile."""

    def note(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_name))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def ask_github() -> set[tuple[str, str]]:
    """Our functions that ask GitHub, by file and name: each says what for, by `told`."""
    return {
        (str(ROOT / path), function.name)
        for path in sources("ci", "pipeline")
        if any(belongs(name, ("pipeline.github.client",)) for name in imports(path))
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef)
        for block in ast.walk(function)
        if isinstance(block, ast.With)
        for item in block.items
        if re.match(r"(github_client\.)?told\(", ast.unparse(item.context_expr))
    }


def test_all_of_ours_that_asks_github_is_played(played):
    ours = ask_github()
    left_out = ours - played.called
    assert ours and not left_out


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


@pytest.mark.parametrize("play", [play.__name__ for play in PLAYS])
def test_every_call_is_accepted(play, asked, prism, description):
    assert asked[play]
    for (endpoint, request, _), target in distinct(asked[play]):
        headers = {name: value for name, value in request.headers.items() if name not in OF_THE_CONNECTION}
        refused = prism.ask(request.verb, target, request.body, headers).refused
        assert not refused, f"{endpoint.method}: {request.verb} {target} {request.body[:500]!r}"

        query, fields = description.fields(endpoint.method)
        assert request.parameters().keys() <= query | EVERYWHERE, f"GitHub passes over what it does not know: {target}"
        if request.headers.get("content-type") == JSON["Content-Type"]:
            assert request.json().keys() <= fields, f"GitHub passes over what it does not know: {request.body!r}"


@pytest.mark.parametrize("play", [play.__name__ for play in PLAYS])
def test_what_the_stand_in_answers_github_could_answer(play, asked, description):
    for endpoint, _, response in asked[play]:
        schemas = description.answers(endpoint.method)
        # Of many refusals a method does not tell: of a tag that is taken, of what any call may meet.
        assert (
            response.status in schemas or response.status >= 400
        ), f"{endpoint.method} never answers {response.status}"
        if schema := schemas[response.status] if response.status < 400 else description.refusal():
            check(json.loads(response.body), schema)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_what_github_shows_as_its_answers_is_understood(play, prism, cloud, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_API_URL", prism.address)
    # Prism keeps nothing: of a release its description shows other files than were sent.
    end = (
        pytest.raises(GitHubRefused, match="did not arrive as sent")
        if play is asking.release
        else contextlib.nullcontext()
    )
    with end:
        play(Stage(cloud.github, monkeypatch, tmp_path))
    assert not cloud.github.exchanges


def test_all_that_the_stand_in_can_do_is_asked_for(asked, cloud):
    seen = {exchange.endpoint.method for exchanges in asked.values() for exchange in exchanges}
    unused = {endpoint.method for endpoint in endpoints(cloud)} - seen
    assert not unused


def test_every_method_of_the_stand_in_is_one_of_github(cloud, description):
    there = {method: found.shape for method, found in description.methods.items()}
    invented = [
        f"{endpoint.verb} {endpoint.path} is not {endpoint.method}"
        for endpoint in endpoints(cloud)
        if there.get(endpoint.method) != shape(endpoint.verb, endpoint.path)
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
    verdict = prism.ask(verb, REPOSITORY + path, json.dumps(body).encode() if body is not None else b"", JSON)
    assert why in verdict.refused and verdict.status >= 400


def test_every_body_is_looked_at(prism, cloud, description):
    """Prism passes over a body in silence if it does not understand its schema."""
    with_body = [endpoint for endpoint in endpoints(cloud) if description.fields(endpoint.method)[1]]
    assert with_body
    for endpoint in with_body:
        path = re.sub(r"\{\w+\}", "1", endpoint.path)
        for wrong in (b"[]", b"1", b'"text"'):
            refused = prism.ask(endpoint.verb, path, wrong, JSON).refused
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
def test_an_answer_that_github_does_not_give_is_found(description, method, answer, why):
    with pytest.raises(jsonschema.ValidationError, match=re.escape(why)):
        check(answer, description.answers(method)[200])


def test_prism_ends_when_the_tests_fail(packages, description):
    def describe(address: str) -> dict[str, Any]:
        return description.trimmed(["issues/list-for-repo"], address)

    with pytest.raises(ZeroDivisionError), servers.serving(packages, describe, READY) as prism:
        assert prism.ask(*READY).status == 200
        raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        prism.ask(*READY)


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
        assert prism.ask(*READY).status == 404
        tests.kill()
    until = time.monotonic() + 30
    with pytest.raises(ConnectionError):
        while time.monotonic() < until:
            prism.ask(*READY)
            time.sleep(0.05)


def test_what_prism_cannot_serve_is_told(packages):
    with pytest.raises(CannotRun, match="does not serve"), servers.serving(packages, lambda address: {}, READY):
        pass


def test_without_node_the_next_step_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="node and npm not found: install Node.js"):
        servers.installed()


def test_when_npm_fails_its_words_are_told_and_nothing_is_left(monkeypatch, tmp_path):
    for name, script in {"node": "exit 0", "npm": "echo 'npm error: no network' >&2; exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="(?s)check Node.js .* and the network.*no network"):
        servers.installed()
    assert not list((tmp_path / "cache/spanloop/node").iterdir())
