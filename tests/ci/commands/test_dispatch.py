"""One workflow starts another, on the local GitHub."""

import pytest


@pytest.fixture
def dispatch(ci, cloud):
    cloud.github.actions.workflows["evaluation.yml"] = {"spans"}

    def run(*arguments, token=None, **variables):
        job = {
            **cloud.environment,
            "GITHUB_REPOSITORY": cloud.github.repository,
            "GITHUB_REF_NAME": "main",
            "GITHUB_TOKEN": token or cloud.github.token(actions="write"),
        }
        return ci("dispatch", *arguments, "--json", **job | variables)

    return run


def test_a_workflow_is_started_with_its_inputs(dispatch, cloud):
    done = dispatch("evaluation.yml", "--input", "spans=1,2=x")
    assert done.code == 0, done.err
    assert cloud.github.actions.dispatched == [("evaluation.yml", "main", {"spans": "1,2=x"})]


def test_outside_of_a_workflow_it_is_started_on_the_default_branch(dispatch, cloud, monkeypatch):
    monkeypatch.setattr(cloud.github, "default_branch", "trunk")
    assert dispatch("evaluation.yml", GITHUB_REF_NAME="").json["branch"] == "trunk"


@pytest.mark.parametrize(
    "arguments, variables, code",
    [
        (("nothing.yml",), {}, 1),
        (("evaluation.yml", "--input", "other=1"), {}, 1),
        (("evaluation.yml", "--input", "spans"), {}, 2),
        (("evaluation.yml",), {"GITHUB_REF_NAME": "gone"}, 1),
        (("evaluation.yml",), {"GITHUB_REPOSITORY": ""}, 2),
    ],
)
def test_what_is_refused_is_an_error_in_one_line(dispatch, cloud, arguments, variables, code):
    done = dispatch(*arguments, **variables)
    assert done.code == code and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not cloud.github.actions.dispatched


def test_a_token_that_may_only_read_starts_nothing(dispatch, cloud):
    done = dispatch("evaluation.yml", token=cloud.github.token(actions="read"))
    assert done.code == 1 and "evaluation.yml" in done.err and not cloud.github.actions.dispatched


def test_a_failure_that_goes_away_is_tried_again(dispatch, cloud):
    cloud.faults.add("github", "actions/create-workflow-dispatch", kind="503")
    assert dispatch("evaluation.yml").code == 0
    assert len(cloud.github.actions.dispatched) == 1
