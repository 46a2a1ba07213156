"""Pushes, executed: each takes the right branch, and a failing one submits nothing."""

from typing import NamedTuple

import pytest

from ci.github import deployments
from pipeline.data import digits
from tests.workflows.executed.conftest import jobs, type_in
from tests.workflows.repository import Repository
from tests.workflows.run import Run

pytestmark = pytest.mark.timeout(1800)

SETTINGS = "modules/classification/settings.py"
IMAGES = 200


class Push(NamedTuple):
    """A push's run, and the state after it: builds, jobs on Vertex AI, and deployed commits."""

    run: Run
    builds: int
    jobs: int
    deployed: list[str]

    @property
    def counts(self) -> tuple[int, int]:
        return self.builds, self.jobs


class Story:
    """Pushes one after another. Submitted jobs stay pending: test_data.py runs them."""

    def __init__(self, repository: Repository, folder):
        self.repository, self.cloud = repository, repository.cloud
        self.cloud.vertex.pipelines.hold()
        digits.write(str(folder), digits.FIRST, limit=IMAGES)
        type_in(repository, "import-images", str(folder))
        self.cloud.github.deployments.add(deployments.ENVIRONMENT, repository.clone.head(), "success")

        repository.clone.change(SETTINGS, "dropout: float = 0.1", "dropout: float = 0.2")
        repository.clone.append("pipeline/formatting.py", "# a change of the pipeline")
        self.mixed = self.push("modules and pipeline")
        repository.clone.change("ci/formatting.py", "SHOWN = 10", "SHOWN = 9")
        self.failing = self.push("break a unit test")
        repository.clone.change("ci/formatting.py", "SHOWN = 9", "SHOWN = 10")
        repository.clone.change(SETTINGS, "dropout: float = 0.2", "dropout: float = 0.3")
        self.modules = self.push("fix the unit test, and change modules")
        repository.clone.append("README.md", "One more word.")
        self.documentation = self.push("documentation")
        self.cloud.vertex.pipelines.reset()

    def push(self, message: str) -> Push:
        run, cloud = self.repository.push(message), self.cloud
        deployed = [deployment["sha"] for deployment in cloud.github.deployments.deployments]
        return Push(run, len(cloud.builds.builds), len(jobs(cloud)), deployed)


@pytest.fixture(scope="module")
def story(configured, tmp_path_factory) -> Story:
    return Story(configured, tmp_path_factory.mktemp("images"))


def test_a_mixed_push_takes_the_full_branch_alone(story):
    run = story.mixed.run
    assert run.results == {
        "route": "success",
        "install": "success",
        "full codebase/tests": "success",
        "full codebase/rehearse": "success",
        "full codebase/attest": "success",
        "full codebase/deploy": "success",
        "modules only": "skipped",
        "cd passed": "success",
    }, run.describe()
    assert run.output("route", "route", "branch") == "full-codebase"
    assert story.mixed.counts == (1, 1) and story.mixed.deployed[-1] == run.sha


def test_a_push_whose_tests_fail_submits_nothing(story):
    run = story.failing.run
    assert run.results["full codebase/tests"] == "failure" and not run.passed
    assert "FAILED tests/ci/test_formatting.py::test_of_many_labels" in run.log("full codebase/tests")
    assert run.results["full codebase/deploy"] == "skipped"
    # The gate is not executed: act ends with a called workflow that fails (tests/workflows/README.md).
    assert story.failing.counts == (1, 1) and story.failing.deployed == story.mixed.deployed


def test_a_push_of_modules_copies_them_and_builds_no_image(story):
    run = story.modules.run
    assert run.results == {
        "route": "success",
        "install": "success",
        "full codebase": "skipped",
        "modules only/tests": "success",
        "modules only/rehearse": "success",
        "modules only/attest": "success",
        "modules only/deploy": "success",
        "cd passed": "success",
    }, run.describe()
    assert run.output("route", "route", "base") == story.mixed.run.sha, "the deployed commit, not the failed one"
    assert story.modules.counts == (1, 2) and story.modules.deployed[-1] == run.sha
    wheels = [name for name in story.cloud.gcs.names(f"gs://{story.cloud.bucket}/") if name.endswith(".whl")]
    assert len(wheels) == 2


def test_a_push_is_compared_with_the_model_that_the_previous_push_rehearsed(story):
    trainings = [
        run.log(job).count("training: full log in")
        for run, job in (
            (story.mixed.run, "full codebase/rehearse"),
            (story.modules.run, "modules only/rehearse"),
        )
    ]
    assert trainings == [2, 1], "before the first push no model of the base was kept"
    assert f"base {story.mixed.run.sha[:7]} gets" in story.modules.run.summaries["modules only/rehearse"]


def test_a_push_of_documentation_runs_nothing_and_passes(story):
    run = story.documentation.run
    assert run.results == {
        "route": "success",
        "install": "skipped",
        "full codebase": "skipped",
        "modules only": "skipped",
        "cd passed": "success",
    }, run.describe()
    assert "only documentation changed: README.md" in run.summaries["route"]
    assert story.documentation.counts == (1, 2) and story.documentation.deployed == story.modules.deployed
