"""What would run, read from the local servers."""

import dataclasses

import pytest

from pipeline.errors import CloudRefused, ConfigError, NoCredentials, SpanNotFound
from pipeline.orchestrators import past_runs, vertex, vertex_request
from pipeline.orchestrators.preview import preview
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE, collect, photographs, report_training


def test_a_training_is_previewed_without_any_right_to_write(cloud_config, span_in_bucket, cloud):
    for verb in ("create", "update", "delete"):
        cloud.gcs.access.deny(f"storage.objects.{verb}")
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/aiplatform.user", cloud.account)
    before = cloud.gcs.names(f"gs://{cloud.bucket}")

    found = preview(cloud_config, "training", "all")

    assert cloud.gcs.names(f"gs://{cloud.bucket}") == before
    assert [span.number for span in found.trained.spans] == [1] and found.trained.current == ""
    assert found.image.image == IMAGE and found.existing is None and found.last is None
    assert found.cached == [] and set(found.cost.assumed) == set(found.trained.nodes)
    assert list(found.machines) == ["Trainer"]


def test_a_run_that_is_there_is_named_and_not_one_that_failed(cloud_config, span_in_bucket, cloud):
    cloud.vertex.pipelines.hold()
    request = vertex_request.prepare(cloud_config, "training", "all")
    vertex.send(cloud_config, request)

    found = preview(cloud_config, "training", "all")
    assert found.request == request
    assert past_runs.id_of(found.existing) == past_runs.id_of(found.last) == request.name

    cloud.vertex.pipelines.fail("SpanExampleGen", times=9)
    cloud.vertex.pipelines.release()
    cloud.vertex.pipelines.wait(found.last["name"])
    found = preview(cloud_config, "training", "all")
    assert found.existing is None and past_runs.state_of(found.last) == "failed"


def test_a_retraining_is_previewed_with_the_training_that_it_starts(cloud_config, span_in_bucket):
    storage = open_storage(cloud_config.workspace)
    report_training(storage, [1])
    assert preview(cloud_config, "retraining", "all") is None
    collect(storage, photographs(range(100, 104)))

    found = preview(cloud_config, "retraining", "latest:1")
    assert (found.trained.spans, found.trained.new_span, found.trained.collected) == ((), 2, 4)
    assert {"SpanPreparator", "PipelineTrigger", "Trainer", "ReleasePusher"} <= set(found.cost.assumed)

    both = preview(cloud_config, "retraining", "1,2").trained
    assert [span.number for span in both.spans] == [1] and both.new_span == 2
    assert storage.folders("modules") == []


def test_what_cannot_run_is_refused(cloud_config, span_in_bucket, cloud, tmp_path, monkeypatch):
    with pytest.raises(SpanNotFound):
        preview(cloud_config, "training", "7")
    with pytest.raises(ConfigError, match="SERVING_MACHINE.*n1-standard-2"):
        preview(dataclasses.replace(cloud_config, serving_machine="n1-standard-3"), "training", "all")
    for role in ("roles/aiplatform.user", "roles/aiplatform.viewer"):
        cloud.policies.revoke(f"projects/{cloud.project}", role, cloud.account)
    with pytest.raises(CloudRefused, match="last run of training.*doctor"):
        preview(cloud_config, "training", "all")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(NoCredentials):
        preview(cloud_config, "training", "all")
