"""The check that branch protection requires, run as in a workflow."""

import json


def needs(branch, **results):
    jobs = {"route": {"result": "success", "outputs": {"branch": branch}}}
    return json.dumps(jobs | {name.replace("_", "-"): {"result": result} for name, result in results.items()})


def test_it_passes_when_exactly_the_chosen_branch_ran(ci):
    done = ci("gate", "--json", NEEDS=needs("modules-only", modules_only="success", full_codebase="skipped"))
    assert done.code == 0 and done.json["passed"] and done.err.strip() == "Passed: route, modules-only."


def test_it_fails_and_says_why(ci):
    done = ci("gate", "--json", NEEDS=needs("modules-only", modules_only="failure", full_codebase="success"))
    assert done.code == 1 and not done.json["passed"] and len(done.json["problems"]) == 2
    assert "modules-only ended as failure, but success is what modules-only asks for" in done.err


def test_without_results_it_fails(ci):
    assert ci("gate").code == 2
