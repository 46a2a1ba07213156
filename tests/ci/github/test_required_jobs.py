"""What a required check lets pass."""

import itertools

import pytest

from ci.github.job import Needed
from ci.github.required_jobs import problems
from ci.github.routing import FULL, MODULES, NONE

RESULTS = ("success", "failure", "cancelled", "skipped")


def jobs(branch: str, router: str = "success", **results: str) -> dict[str, Needed]:
    named = {name.replace("_", "-"): Needed(result, {}) for name, result in results.items()}
    return {"route": Needed(router, {"branch": branch}), **named}


def test_of_a_push_exactly_the_branch_that_was_chosen_ran():
    passed = [
        (branch, full, modules)
        for branch, full, modules in itertools.product((FULL, MODULES, NONE), RESULTS, RESULTS)
        if not list(problems(jobs(branch, full_codebase=full, modules_only=modules)))
    ]
    assert passed == [(FULL, "success", "skipped"), (MODULES, "skipped", "success"), (NONE, "skipped", "skipped")]


@pytest.mark.parametrize("branch", [FULL, MODULES])
def test_of_a_pull_request_every_job_ran_and_passed(branch):
    passed = [
        pair
        for pair in itertools.product(RESULTS, RESULTS)
        if not list(problems(jobs(branch, tests=pair[0], rehearse=pair[1])))
    ]
    assert passed == [("success", "success")]


def test_documentation_needs_no_job():
    assert not list(problems(jobs(NONE, tests="skipped", rehearse="skipped")))


@pytest.mark.parametrize("router", ["failure", "cancelled", "skipped"])
def test_without_a_decision_nothing_passes(router):
    (problem,) = problems(jobs("", router, full_codebase="skipped", modules_only="skipped"))
    assert problem == f"route ended as {router} and chose nothing"
    assert list(problems(jobs("${{ steps.route.outputs.branch }}", full_codebase="success")))
    assert list(problems({"tests": Needed("success", {})}))
