"""The data loop, executed: a push trains a model, and collected images that it gets wrong train another one."""

import json

import pytest

from pipeline.data import digits
from tests.workflows.executed.conftest import finish, jobs, type_in
from tests.workflows.repository import Repository

pytestmark = pytest.mark.timeout(1800)

FIRST, CHANGED = 200, 120  # images of each camera
WORKSPACE = "gs://spanloop-local/spanloop"
MODELS = ["model-1", "model-2"]


class Story:
    """The events in order, and the state after each."""

    def __init__(self, repository: Repository, folder):
        self.repository, self.cloud = repository, repository.cloud
        cloud = self.cloud
        # the warm process of the local Vertex AI starts in parallel
        cloud.vertex.workers.warm.warm_up()
        digits.write(str(folder), digits.FIRST, limit=FIRST)
        type_in(repository, "import-images", str(folder))

        repository.clone.append("pipeline/formatting.py", "# a change of the pipeline")
        self.push = repository.push("a change of the pipeline")
        self.trained = finish(cloud)
        self.models_then = self.models()

        self.with_few = repository.tick("collected-data.yml")
        for name, data in digits.images(digits.CHANGED, limit=CHANGED):
            cloud.gcs.put(f"{WORKSPACE}/collected/{name}", data)
        cloud.vertex.pipelines.hold()
        repository.press_during_next_run("evaluation.yml")
        self.with_enough = repository.tick("collected-data.yml")
        self.submitted = jobs(cloud)
        self.dry = repository.press("retraining.yml", **{"dry-run": "true"})
        self.submitted_after_dry = jobs(cloud)
        cloud.vertex.pipelines.release()
        self.retrained = finish(cloud)
        self.models_at_last = self.models()

        repository.variables["VERTEX_ENDPOINT"] = "digits"
        self.promoted = [repository.press("promote.yml", tag=tag) for tag in MODELS]
        self.rolled_back = repository.press("promote.yml", action="rollback")
        self.serving = self.traffic()

        cloud.vertex.pipelines.hold()
        repository.clone.append("pipeline/formatting.py", "# a change without an image of its own")
        repository.clone.commit("not pushed")
        before = set(jobs(cloud))
        self.by_hand = repository.press("retraining.yml", pipeline="training", spans="1", commit=self.push.sha)
        self.trained_by_hand = [cloud.vertex.pipelines.jobs[name] for name in jobs(cloud) if name not in before]
        cloud.vertex.pipelines.reset()

        repository.clone.git("switch", "--quiet", "--create", "proposal")
        repository.clone.append("pipeline/formatting.py", "# of a stranger")
        proposed = repository.clone.commit("not merged")
        repository.clone.git("switch", "--quiet", "main")
        self.stranger = repository.press("retraining.yml", commit=proposed)

    def traffic(self) -> dict[str, int]:
        """The endpoint's traffic split by model."""
        (endpoint,) = self.cloud.vertex.endpoints.endpoints.values()
        return {model.display_name: endpoint.traffic_split.get(model.id, 0) for model in endpoint.deployed_models}

    def models(self) -> dict[str, dict]:
        """model.json of each release."""
        published = self.cloud.github.releases.published()
        return {tag: json.loads(files["model.json"]) for tag, files in published.items()}


@pytest.fixture(scope="module")
def story(configured, tmp_path_factory) -> Story:
    return Story(configured, tmp_path_factory.mktemp("first"))


def test_a_push_that_changes_a_pipeline_takes_the_full_branch_and_trains_a_model(story):
    run = story.push
    assert run.passed, run.describe()
    assert run.results == {
        "route": "success",
        "install": "success",
        "full codebase/tests": "success",
        "full codebase/rehearse": "success",
        "full codebase/attest": "success",
        "full codebase/deploy": "success",
        "modules only": "skipped",
        "cd passed": "success",
    }
    assert len(story.cloud.builds.builds) == 1
    assert list(story.trained.values()) == ["PIPELINE_STATE_SUCCEEDED"]
    assert list(story.models_then) == MODELS[:1] and story.models_then["model-1"]["commit"] == run.sha


def test_the_rehearsed_model_is_attested(story):
    (model,) = story.repository.artifacts(story.push)["model"].values()
    assert story.repository.attested()[0] == model


def test_the_released_model_is_attested_once(story):
    (run,) = story.with_few.started
    assert run.results == {"verify": "success", "attest": "success"}, run.describe()
    assert story.repository.attested()[1:] == [story.models_then["model-1"]["files"]["model.tar.gz"]]


def test_too_few_images_start_no_evaluation_and_the_summary_has_the_reason(story):
    run = story.with_few
    assert run.results == {"count": "success", "watch": "success"}, run.describe()
    assert "0 of 100 images: wait for more." in run.summaries["count"]


def test_enough_images_start_an_evaluation_that_calls_for_a_retraining(story):
    run = story.with_enough
    assert run.results == {"count": "success", "watch": "success"}, run.describe()
    assert "100 of 100 images: enough to evaluate." in run.summaries["count"]
    for evaluation in run.started:
        assert evaluation.workflow == "evaluation.yml"
        assert evaluation.results == {"evaluate": "success", "watch": "success"}, evaluation.describe()
        assert evaluation.output("evaluate", "evaluate", "should_retrain") == "true"
        assert "model-1 gets" in evaluation.summaries["evaluate"]


def test_two_evaluations_of_the_same_images_at_the_same_time_submit_one_retraining(story):
    assert len(story.with_enough.started) == 2
    assert [name for name in story.submitted if "retraining" in name] == story.submitted[1:]
    assert len(story.submitted) == 2, "a training of the push, and one retraining"
    logs = [evaluation.log("evaluate") for evaluation in story.with_enough.started]
    assert (
        len([log for log in logs if "is there already" in log]) == 1
    ), "one of them found the job that the other had submitted"


def test_a_retraining_ends_with_a_new_release(story):
    assert set(story.retrained.values()) == {"PIPELINE_STATE_SUCCEEDED"}
    assert sorted(story.models_at_last) == MODELS
    new = story.models_at_last["model-2"]
    assert new["spans"] == [1, 2] and new["previous"] == "model-1"
    assert not [name for name in story.cloud.gcs.names(f"{WORKSPACE}/") if "/collected/" in name]


def test_a_dry_run_shows_the_job_that_is_there_already_and_submits_nothing(story):
    assert story.dry.passed, story.dry.describe()
    shown = story.dry.summaries["submit"]
    assert "Would start nothing: retraining" in shown and "Nothing was written, copied or built." in shown
    assert story.submitted_after_dry == story.submitted


def test_the_button_promotes_releases_and_rolls_the_last_one_back(story):
    for run, model in zip([*story.promoted, story.rolled_back], [*MODELS, "model-1"], strict=True):
        assert run.results == {"promote": "success"}, run.describe()
        assert f"digits: {model} 100 %" in run.summaries["promote"]
    assert story.serving == {"model-1": 100}


def test_the_button_trains_on_chosen_spans_with_the_code_of_a_commit(story):
    assert story.by_hand.passed, story.by_hand.describe()
    (job,) = story.trained_by_hand
    assert (job.labels["pipeline"], job.labels["spans"], job.labels["commit"]) == ("training", "1", story.push.sha)


def test_the_button_refuses_a_commit_of_another_branch(story):
    assert story.stranger.results == {"choose": "failure", "submit": "skipped"}, story.stranger.describe()
    assert "is not on main" in story.stranger.log("choose")
