"""A fresh fork, and pull requests from another fork, executed without a cloud and without secrets."""

import re

import pytest

from tests.workflows.repository import Repository

pytestmark = pytest.mark.timeout(1800)

SETTINGS = "modules/classification/settings.py"
NUMBER, STRANGERS = 7, "stranger/widget"


class Story:
    """A push to the fork; a pull request that is changed once, and one that only changes documentation."""

    def __init__(self, repository: Repository):
        self.repository, github = repository, repository.cloud.github
        repository.clone.append("pipeline/formatting.py", "# a change of the pipeline")
        self.push = repository.push("a change of the pipeline")
        self.cron = repository.tick("collected-data.yml")
        self.button = repository.press("retraining.yml")
        self.google_services = [call.service for call in repository.cloud.asked() if call.service != "github"]

        repository.clone.change(SETTINGS, "dropout: float = 0.1", "dropout: float = 0.2")
        self.opened = repository.propose(NUMBER, "drop more", STRANGERS)
        self.first_report = github.issues.texts(NUMBER)
        repository.clone.append("docs.md", "Why more is dropped.")
        self.changed = repository.propose(NUMBER, "say why", STRANGERS, action="synchronize")
        self.second_report = github.issues.texts(NUMBER)

        repository.clone.append("README.md", "One more word.")
        self.documentation = repository.propose(NUMBER + 1, "documentation", STRANGERS)


@pytest.fixture(scope="module")
def story(fork) -> Story:
    return Story(fork)


def test_a_push_to_a_fresh_fork_is_tested_and_rehearsed_and_passes(story):
    run = story.push
    assert run.results == {
        "route": "success",
        "install": "success",
        "full codebase/tests": "success",
        "full codebase/rehearse": "success",
        "full codebase/attest": "success",
        "full codebase/deploy": "skipped",
        "modules only": "skipped",
        "cd passed": "success",
    }, run.describe()
    assert not story.google_services


@pytest.mark.parametrize("run", ["push", "cron", "button"])
def test_a_fresh_fork_shows_the_missing_settings(story, run):
    run = getattr(story, run)
    assert run.passed, run.describe()
    summary = "".join(run.summaries.values())
    missing = re.findall(r"(?m)^  ([A-Z_]+): ", summary)
    assert "Google Cloud is not configured" in summary and {"GCP_PROJECT", "WORKLOAD_IDENTITY_PROVIDER"} <= set(missing)


def test_a_pull_request_runs_every_job(story):
    for run in (story.opened, story.changed):
        wanted = dict.fromkeys(("route", "tests", "web", "compile", "rehearse", "ci passed"), "success")
        assert run.results == wanted, run.describe()


def test_a_pull_request_gets_its_report_from_a_second_workflow(story):
    (report,) = story.opened.started
    assert report.workflow == "report.yml" and report.results == {"report": "success"}, report.describe()
    (text,) = story.first_report
    assert text.startswith("<!-- spanloop report -->") and "% right" in text


def test_a_second_push_updates_the_same_comment(story):
    (report,) = story.changed.started
    assert report.passed, report.describe()
    (before,), (after,) = story.first_report, story.second_report
    assert before != after


def test_a_pull_request_of_documentation_passes_without_running_anything(story):
    run = story.documentation
    skipped = dict.fromkeys(("tests", "web", "compile", "rehearse"), "skipped")
    assert run.results == {"route": "success", **skipped, "ci passed": "success"}, run.describe()
    (report,) = run.started
    assert report.passed, report.describe()
    assert not story.repository.cloud.github.issues.texts(NUMBER + 1)


def test_code_from_another_fork_gets_no_secret(story):
    for run in (story.opened, story.changed, story.documentation):
        assert "ACTIONS_ID_TOKEN_REQUEST" not in run.everything
        assert story.repository.tokens[run.id] == {"contents": "read"}
