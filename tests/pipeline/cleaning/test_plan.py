"""What may be deleted in a bucket and on the local Google Cloud, and that nothing else is."""

import dataclasses

import pytest
from google.cloud import aiplatform_v1 as types

from pipeline.cleaning import plan, vertex
from pipeline.data import reports
from pipeline.errors import ForeignReleases, MissingSettings
from pipeline.serving import canary, device_channel, endpoint
from tests.conftest import BucketWorkspace
from tests.devices import Devices
from tests.emulators.vertex import names
from tests.pipeline.cleaning.conftest import STATE, Project
from tests.pipeline.data.test_reports import CONFUSION, EVALUATION, TRAINING

OLD, NEW, FOREIGN = "b" * 64, "a" * 64, "not-a-digest"


@pytest.fixture
def used(project) -> Project:
    """A project with needed and unneeded things of each kind."""
    project.deploy(project.serving.release(1))  # with modules NEW
    project.add(f"modules/{OLD}/x.whl", f"modules/{NEW}/x.whl", f"modules/{FOREIGN}/x.whl")
    project.add(f"pipelines/training/{OLD}.json", f"pipelines/training/{NEW}.json", "pipelines/README")
    project.add("serving/model-9/0123456789ab/saved_model.pb", "serving/of-a-user/model")
    project.add("serving/batch/model-1-0123456789abcdef/instances/0.jsonl")
    project.add(
        "spans/span-0001/train/1.tfrecord", "collected/cat/1.jpg", "archive/span-0001/cat/1.jpg", "rejected/1.jpg"
    )
    project.add("pipeline_root/training/123456789012/unknown-run/Node_1/data/part-0", "pipeline_root/notes.txt")
    project.add("pipeline_root/training/checkpoints/0c/epoch-1")
    for number in ("1", "2"):
        project.run(number)
    project.run("3", uses="1", compiled=NEW, modules=NEW)
    for digit in "567":
        project.image(digit)
    return project


EVERYTHING = {
    "copy for serving": ["serving/model-9/0123456789ab"],
    "batch prediction": ["serving/batch/model-1-0123456789abcdef"],
    "results of a run": ["pipeline_root/training/123456789012/training-2"],
    "checkpoints": ["pipeline_root/training/checkpoints/0c"],
    "modules": [f"modules/{OLD}"],
    "compiled pipeline": [f"pipelines/training/{OLD}.json"],
}


def test_what_nothing_needs_is_found_and_deleted_and_everything_else_stays(used):
    images = [f"{used.config.image_repository}@sha256:{digit * 64}" for digit in "56"]
    before, wanted = used.names(), EVERYTHING | {"image": images}

    assert used.find() == wanted
    assert used.names() == before, "looking changes nothing"
    assert used.clean() == []

    gone = {name for name in before if name.startswith(tuple(sum(EVERYTHING.values(), [])))}
    gone |= {f"images/{digit * 64}.json" for digit in "56"}
    gone |= {f"images/content-{f'{digit}c' * 32}.json" for digit in "56"}
    gone |= {f"sources/{f'{digit}c' * 32}.tar.gz" for digit in "56"}
    assert before - used.names() == gone
    assert used.images() == {f"pipelines@sha256:{'7' * 64}"}
    assert used.serving.traffic == {"model-1": 100}
    assert used.find() == {}


def test_nothing_younger_than_the_given_days_is_found(used):
    assert used.find(later=29.9) == {}
    assert used.find(days=41) == {}
    assert set(used.find(days=0, later=0)) == {*EVERYTHING, "image"}


def test_an_item_has_its_age_its_bytes_and_why_nothing_needs_it(used):
    (item,) = (item for item in used.items() if item.kind == "modules")
    assert (int(item.days), item.bytes) == (40, 5) and "no release" in item.why


def test_results_that_a_recent_run_took_from_the_cache_stay_and_others_are_made_again(used):
    assert used.cached("1") and used.cached("2")

    used.clean()

    # a cached result counts for Vertex AI as long as its execution is known, whether its files are there or not
    assert used.cached("1") and not used.cached("2")
    assert "pipeline_root/training/123456789012/training-1/Node_1/data/.hidden/part-0" in used.names()


def test_executions_of_later_runs_that_used_the_cache_end_with_the_results(project):
    project.run("1")
    project.run("2", uses="1")
    project.run("3")  # the newest, which alone is recent

    project.clean()

    assert not project.cached("1") and project.cached("3")


def test_results_whose_executions_are_not_named_stay(used):
    for job in used.cloud.vertex.pipelines.jobs.values():
        job.job_detail.task_details[0].execution = None

    (failure,) = used.clean()

    assert failure.item.kind == "results of a run" and "may use from the cache" in failure.reason
    assert used.find() == {"results of a run": ["pipeline_root/training/123456789012/training-2"]}


@pytest.mark.parametrize("state", [STATE.PIPELINE_STATE_RUNNING, STATE.PIPELINE_STATE_PENDING])
def test_what_a_run_that_has_not_ended_uses_stays(used, state):
    used.run("4", state, modules=OLD, compiled=OLD, image="5" * 64)
    used.run("5")

    found = used.find()

    assert "modules" not in found and found["compiled pipeline"] == [f"pipelines/training/{NEW}.json"]
    assert found["image"] == [f"{used.config.image_repository}@sha256:{'6' * 64}"]
    assert not [name for name in found["results of a run"] if name.endswith("-4")]


@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_what_a_killed_call_left_is_done_by_the_next(used, after):
    done = []

    def stop(item) -> None:
        done.append(item)
        if len(done) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.remove(used.items(), stop)
    assert used.clean() == [] and used.find() == {}


@pytest.mark.parametrize("service", ["storage", "aiplatform", "artifactregistry"])
@pytest.mark.parametrize("kind", ["503", "lose"])
def test_calls_that_fail_or_whose_answers_are_lost_are_repeated(used, retry_waits, service, kind):
    items = used.items()
    used.cloud.faults.add(service, "*elete*", kind=kind)

    assert plan.remove(items, lambda item: None) == [] and used.find() == {}


def test_rules_that_keep_objects_are_explained_and_the_others_are_deleted(used):
    rules = used.cloud.gcs.store.bucket(used.cloud.bucket).properties
    rules |= {
        "retentionPolicy": {"retentionPeriod": "8640000"},
        "softDeletePolicy": {"retentionDurationSeconds": "604800"},
    }
    try:
        notes = plan.find(used.search()).notes
        failures = used.clean()
    finally:
        rules.clear()

    assert any("another 7 days" in note for note in notes) and any("retention policy" in note for note in notes)
    assert failures and all("The bucket's retention policy keeps it" in failure.reason for failure in failures)
    assert used.clean() == [] and used.find() == {}


def test_versioning_is_said_to_keep_what_is_deleted(used):
    used.cloud.gcs.store.bucket(used.cloud.bucket).properties["versioning"] = {"enabled": True}
    assert any("stays as an earlier version" in note for note in plan.find(used.search()).notes)
    assert used.clean() == []


def test_who_may_not_delete_images_gets_the_role_and_everything_else_is_deleted(used):
    for role in ("roles/artifactregistry.repoAdmin",):
        used.cloud.policies.revoke(f"projects/{used.cloud.project}", role, used.cloud.account)

    failures = used.clean()

    assert [failure.item.kind for failure in failures] == ["image", "image"]
    assert "roles/artifactregistry.repoAdmin" in failures[0].reason
    assert set(used.find()) == {"image"}


def test_models_of_a_former_name_of_the_repository_are_ended(project):
    project.deploy(project.serving.release(1))
    former = project.serving.versions()[0].name.partition("@")[0]
    renamed = {"releases": f"{project.config.workspace}/renamed"}
    project.config = project.serving.config = dataclasses.replace(project.config, **renamed)
    project.deploy(project.serving.release(2))
    assert project.find() == {}, "the old model still has traffic"
    endpoint.promote(project.config, "model-1")
    ((_, left),) = endpoint.unused(project.config).items()
    assert left == "model-1"

    assert set(project.find()) == {"deployed model", "model"}
    assert project.find()["model"] == [former]
    assert project.clean() == []

    assert endpoint.unused(project.config) == {} and project.serving.traffic == {"model-1": 100}
    assert len(project.serving.versions()) == 1 and project.find() == {}


def test_a_model_that_another_process_deletes_meanwhile_is_left_out(project, retry_waits):
    project.deploy(project.serving.release(1))
    models = project.cloud.vertex.models.models
    project.cloud.faults.add("aiplatform", "ListModelVersions", kind="503", happens=models.clear)

    assert vertex.registered(project.search()) == []


def test_a_version_whose_release_is_gone_is_deleted_but_not_the_default(project):
    for number in (1, 2, 3):
        project.deploy(project.serving.release(number))
    endpoint.promote(project.config, "model-3")
    assert project.find() == {}
    for tag in ("model-1", "model-2"):
        project.storage.delete(f"releases/{tag}/model.json")

    assert [name[-2:] for name in project.find()["model version"]] == ["@1", "@2"]
    assert project.clean() == []

    assert [version.version_id for version in project.serving.versions()] == ["3"]
    project.storage.delete("releases/model-3/model.json")
    assert project.find() == {}, "it serves"


def test_models_of_another_workspace_in_the_project_stay(used):
    version = used.serving.versions()[0]
    (stored,) = (each for versions in used.cloud.vertex.models.models.values() for each in versions.values())
    stored.artifact_uri = version.artifact_uri.replace(used.config.workspace, "gs://another-bucket/theirs")
    used.storage.delete("releases/model-1/model.json")
    endpoint_of = next(iter(used.cloud.vertex.endpoints.endpoints.values()))
    endpoint_of.traffic_split = {}

    assert {"model", "model version", "deployed model"}.isdisjoint(used.find())


def test_an_image_that_another_workspace_built_stays(used):
    used.storage.delete(f"images/{'5' * 64}.json")
    assert used.find()["image"] == [f"{used.config.image_repository}@sha256:{'6' * 64}"]


def test_reports_of_releases_and_those_that_the_loop_reads_stay(project):
    project.serving.release(1)
    for number, tag in ((1, "model-1"), (2, None), (3, None)):
        outcome = dataclasses.replace(TRAINING, release=tag, current=None)
        reports.save_training(project.storage, outcome, identity=f"{number}", modules_digest="9d", commit="c0ffee")
        reports.save_evaluation(project.storage, EVALUATION, CONFUSION, {"report.html": b"<p>"})
    project.add("reports/history.html", "reports/notes/mine.txt")

    found = project.find()["report"]

    assert [name.split("/")[1].split("-")[0] for name in found] == ["evaluation", "evaluation", "training"]
    assert project.clean() == [] and project.find() == {}
    assert [report.identity for report in reports.trainings(project.storage)] == ["1", "3"]
    assert len(reports.evaluations(project.storage)) == 1 and "reports/notes/mine.txt" in project.names()


def test_releases_elsewhere_are_not_taken_for_none(project):
    project.serving.release(1)
    reports.save_training(project.storage, TRAINING, identity="1", modules_digest="9d", commit="c0ffee")

    with pytest.raises(ForeignReleases, match="none of the models.*model-2.*Set RELEASES"):
        project.find(releases=f"{project.config.workspace}/elsewhere")


def test_a_bucket_without_a_project_is_refused_with_what_is_not_set(project):
    with pytest.raises(MissingSettings, match="GCP_REGION"):
        project.find(region="")


def test_answers_of_batch_predictions_end_with_their_jobs_but_for_the_newest(project):
    jobs = project.cloud.vertex.batches.jobs
    parent = f"projects/{project.cloud.project_number}/locations/{project.cloud.region}/batchPredictionJobs"
    folders = [f"serving/batch/model-1-{digit * 16}" for digit in "123"]
    states = [types.JobState.JOB_STATE_RUNNING, *[types.JobState.JOB_STATE_SUCCEEDED] * 2]
    for number, (folder, state) in enumerate(zip(folders, states, strict=True)):
        project.add(f"{folder}/predictions/0.jsonl")
        place = {"output_uri_prefix": project.storage.address(f"{folder}/predictions")}
        jobs[f"{parent}/{number}"] = types.BatchPredictionJob(
            name=f"{parent}/{number}",
            state=state,
            output_config={"gcs_destination": place},
            create_time=names.now(),
            update_time=names.now(),
        )

    assert project.find() == {"batch prediction": [folders[1]]}
    assert project.clean() == []

    assert list(jobs) == [f"{parent}/0", f"{parent}/2"] and project.find() == {}


def test_models_for_devices_that_no_channel_and_no_release_names_are_deleted(project, tmp_path):
    devices = Devices(BucketWorkspace(project.cloud, project.config.workspace), tmp_path)
    channel = {"device_channel": devices.config.device_channel, "device_signing_key": devices.config.device_signing_key}
    for number in (1, 2, 3):
        device_channel.publish(devices.config, devices.release(number))
        device_channel.DeviceChannel(devices.config).reach(canary.promotion(f"model-{number}"))
    folder = "devices/classification"
    project.add(f"{folder}/model-8/model.tflite")  # without a manifest of our key
    for tag in ("model-1", "model-2", "model-3"):
        project.storage.delete(f"releases/{tag}/model.json")

    assert project.find(**channel) == {"model for devices": [f"{folder}/model-1"]}
    assert project.clean(**channel) == []

    assert not [name for name in project.names() if name.startswith(f"{folder}/model-1/")]
    assert project.storage.exists(f"{folder}/model-2/manifest.json"), "one can roll back to it"
    (note,) = plan.find(project.search(**channel | {"device_signing_key": ""})).notes
    assert "DEVICE_SIGNING_KEY is not set" in note
