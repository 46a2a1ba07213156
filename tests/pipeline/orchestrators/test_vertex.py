"""Runs on the local Vertex AI: asked for twice, at once, after failures, and when answers are lost.

The runs themselves are held back, or fail for want of an image: what a run does is tested where a whole one is.
"""

import concurrent.futures
import dataclasses
import hashlib
import time

import pytest

from pipeline.errors import CloudRefused, InvalidSpec
from pipeline.orchestrators import vertex
from pipeline.orchestrators.vertex_job import state_of
from pipeline.orchestrators.vertex_request import prepare
from pipeline.packaging import wheel
from pipeline.storage.factory import open_storage
from tests.conftest import report_training

SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def wanted(cloud_config, span_in_bucket):
    """A training on span 1."""
    return prepare(cloud_config, "training", "all")


@pytest.fixture
def held(cloud):
    """Runs stay as they were submitted, until they are released."""
    cloud.vertex.pipelines.hold()
    return cloud.vertex.pipelines


def runs(cloud) -> list[str]:
    """The names of all runs that there are."""
    return sorted(name.rpartition("/")[2] for name in cloud.vertex.pipelines.jobs)


def wait_for(cloud, name: str, state: str) -> None:
    (job,) = (job for found, job in cloud.vertex.pipelines.jobs.items() if found.endswith(f"/{name}"))
    until = time.monotonic() + 120
    while state_of(job) != state:
        assert time.monotonic() < until, state_of(job)
        time.sleep(0.02)


def test_a_run_is_submitted_once(cloud_config, wanted, cloud, held):
    first = vertex.send(cloud_config, wanted)
    again = vertex.send(cloud_config, wanted)

    assert first.submitted and not again.submitted
    assert again == dataclasses.replace(first, submitted=False, state=again.state)
    assert runs(cloud) == [wanted.name]
    assert first.job.endswith(f"/pipelineJobs/{wanted.name}") and wanted.name in first.link
    kept = open_storage(cloud_config.workspace).read(f"pipelines/training/{first.digest}.json")
    assert hashlib.sha256(kept).hexdigest() == first.digest


def test_of_several_at_once_one_starts_the_run(cloud_config, wanted, cloud, held):
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        done = list(several.map(lambda _: vertex.send(cloud_config, wanted), range(4)))

    assert sorted(each.submitted for each in done) == [False, False, False, True]
    assert runs(cloud) == [wanted.name]


def test_a_run_that_failed_or_was_cancelled_is_followed_by_one_other(cloud_config, wanted, cloud):
    vertex.send(cloud_config, wanted)
    wait_for(cloud, wanted.name, "failed")  # there is no such image
    cloud.vertex.pipelines.hold()

    with concurrent.futures.ThreadPoolExecutor(4) as several:
        done = list(several.map(lambda _: vertex.send(cloud_config, wanted), range(4)))
    assert sorted(each.submitted for each in done) == [False, False, False, True]
    assert runs(cloud) == [wanted.name, f"{wanted.name}-2"]

    from pipeline.cloud.vertex import client

    client(cloud_config, "PipelineService").cancel_pipeline_job(name=done[0].job)
    wait_for(cloud, f"{wanted.name}-2", "cancelled")
    third = vertex.send(cloud_config, wanted)
    assert third.submitted and third.job.endswith(f"{wanted.name}-3")


@pytest.mark.parametrize("kind", ["429", "500", "503", "cut", "lose"])
def test_a_failed_call_starts_no_second_run_and_none_too_few(cloud_config, wanted, cloud, held, kind):
    cloud.faults.add(service="aiplatform", method="CreatePipelineJob", kind=kind)

    done = vertex.send(cloud_config, wanted)

    assert done.submitted and runs(cloud) == [wanted.name]


def test_a_refusal_of_vertex_ai_becomes_one_line(cloud_config, wanted, cloud):
    elsewhere = dataclasses.replace(cloud_config, service_account="pipelines@elsewhere.iam.gserviceaccount.com")

    with pytest.raises(CloudRefused, match=rf"Submitting {wanted.name} failed: .*act as.*ci doctor"):
        vertex.send(elsewhere, wanted)
    absent = dataclasses.replace(cloud_config, service_account=f"gone@{cloud.project}.iam.gserviceaccount.com")
    with pytest.raises(CloudRefused, match="actAs.*may not exist"):
        vertex.send(absent, wanted)
    assert runs(cloud) == []


def test_a_secret_among_the_values_stops_the_run(cloud_config, wanted, cloud):
    leaking = dataclasses.replace(wanted, values={**wanted.values, "labels": SECRET})
    with pytest.raises(InvalidSpec, match="looks like a GitHub token") as refused:
        vertex.send(cloud_config, leaking)
    assert SECRET not in str(refused.value)

    with pytest.raises(InvalidSpec, match="value of a secret setting"):
        vertex.send(dataclasses.replace(cloud_config, github_token=wanted.values["identity"]), wanted)
    assert not cloud.asked("aiplatform")


def test_a_trigger_that_is_repeated_starts_one_run_and_none_for_what_was_trained_on(
    cloud_config, span_in_bucket, cloud, held
):
    modules = wheel.copy(cloud_config)
    done = [vertex.train_once(cloud_config, "all", modules, "c0ffee") for _ in range(2)]

    (name,) = runs(cloud)
    assert [each.submitted for each in done] == [True, False]
    assert all(each.job.endswith(name) for each in done)
    by_command = prepare(cloud_config, "training", "all")
    assert by_command.name == name  # it is the same run that a person would have asked for

    report_training(open_storage(cloud_config.workspace), [1])
    assert vertex.train_once(cloud_config, "all", modules, "c0ffee") is None
    assert runs(cloud) == [name]


def test_a_trigger_starts_automl_where_the_settings_name_it(cloud_config, cloud, held, span_in_bucket):
    config = dataclasses.replace(cloud_config, pipeline="automl")

    done = vertex.train_once(config, "all", wheel.copy(config), "c0ffee")

    (name,) = runs(cloud)
    assert done.submitted and done.job.endswith(name) and name.startswith("automl-")
    assert name == prepare(config, "automl", "all").name


def test_the_outcome_of_a_training_is_what_it_reported(cloud_config, wanted):
    storage = open_storage(cloud_config.workspace)
    assert vertex.outcome(cloud_config, wanted, "") is None

    report_training(storage, [1], "model-1", wanted.values["identity"])
    report_training(storage, [1], "model-2", "another")

    assert vertex.outcome(cloud_config, wanted, "").outcome.release == "model-1"
