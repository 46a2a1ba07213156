"""Evaluation as a batch prediction job: the job, its instances, its predictions, and a second call."""

import base64
import dataclasses
import json
import pathlib

import pytest

from pipeline.batch import evaluation, here, on_vertex
from pipeline.batch.on_vertex import Spool
from pipeline.cloud.vertex import client, location
from pipeline.data import automl_dataset, digits
from pipeline.errors import BatchPredictionFailed
from pipeline.outcomes import EvaluationOutcome
from pipeline.progress import no_log
from pipeline.quality.scores import LabelledImage
from pipeline.storage.factory import open_storage
from tests.conftest import jpeg

IMAGES = 30


@pytest.fixture
def collected(serving):
    """A released model and the changed camera's digits, which wait to be evaluated."""
    serving.release()
    for name, image in digits.images(digits.CHANGED, limit=IMAGES):
        serving.cloud.gcs.put(f"{serving.config.workspace}/collected/{name}", image)
    return serving


def evaluated(serving, open_predictor=on_vertex.predictor) -> EvaluationOutcome:
    return evaluation.evaluate(serving.config, 0.8, open_predictor=open_predictor)


def jobs(serving) -> list:
    asked = {"parent": location(serving.config)}
    return list(client(serving.config, "JobService").list_batch_prediction_jobs(asked))


def predictions(serving, report: str) -> list[str]:
    return sorted(serving.cloud.gcs.read(report.replace("report.html", "predictions.jsonl")).decode().splitlines())


def test_vertex_finds_what_this_machine_finds_and_says_so_in_the_same_report(collected):
    local, remote = evaluated(collected, here.predictor), evaluated(collected)

    assert remote == dataclasses.replace(local, report=remote.report)
    assert predictions(collected, remote.report) == predictions(collected, local.report)
    page = collected.cloud.gcs.read(remote.report).decode()
    assert page.count("data:image/") == collected.cloud.gcs.read(local.report).decode().count("data:image/") > 0


def test_the_job_is_asked_for_with_the_version_and_keyed_instances(collected):
    evaluated(collected)

    (job,) = jobs(collected)
    assert job.model_version_id == "1" and job.labels["release"] == "model-1"
    assert job.instance_config.key_field == "key"
    assert job.dedicated_resources.machine_spec.machine_type == "n1-standard-2"
    (uri,) = job.input_config.gcs_source.uris
    instances = [json.loads(line) for line in collected.cloud.gcs.read(uri).splitlines()]
    assert len(instances) == IMAGES
    assert all(set(instance) == {"key", "image"} and set(instance["image"]) == {"b64"} for instance in instances)


def test_the_same_images_are_predicted_once(collected):
    first, again = evaluated(collected), evaluated(collected)

    assert again == dataclasses.replace(first, report=again.report) and len(jobs(collected)) == 1
    name, image = next(digits.images(digits.CHANGED, limit=1, skip=IMAGES))
    collected.cloud.gcs.put(f"{collected.config.workspace}/collected/more-{name}", image)
    assert evaluated(collected).images == IMAGES + 1
    assert len(jobs(collected)) == 2


@pytest.mark.parametrize("kind", ["503", "lose"])
def test_a_failure_on_the_way_starts_no_second_job(collected, kind):
    for method in ("CreateBatchPredictionJob", "GetBatchPredictionJob", "ListBatchPredictionJobs"):
        collected.cloud.faults.add("aiplatform", method, kind=kind)

    assert evaluated(collected).images == IMAGES
    assert len(jobs(collected)) == 1


def test_many_images_go_in_shards_that_are_the_same_whatever_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(on_vertex, "SHARD_BYTES", 2000)
    images = [LabelledImage(f"{n}.png", "cat", b"%d" % n * 100) for n in range(40)]
    shards = list(Spool(str(tmp_path / "a"), images).shards())
    spool = Spool(str(tmp_path / "b"), reversed(images))

    assert shards == list(spool.shards()) and len(shards) > 3
    lines = [json.loads(line) for shard in shards for line in shard.splitlines()]
    assert sorted(base64.b64decode(line["image"]["b64"]) for line in lines) == sorted(image.image for image in images)
    assert [image for _, image in spool] == images[::-1]


def test_an_image_that_the_model_cannot_read_is_said_with_the_page_of_the_job(serving):
    with on_vertex.predictor(serving.config, serving.release()) as predict:
        with pytest.raises(
            BatchPredictionFailed, match="evaluate-model-1-.*1 of 1 images have no prediction"
        ) as failed:
            list(predict([LabelledImage("x", "7", b"no image")]))
    assert failed.value.job.startswith("evaluate-model-1-")
    assert failed.value.page.startswith("https://console.cloud.google.com/")


def test_a_model_of_automl_gets_the_addresses_of_images_and_answers_with_all_labels(tmp_path):
    storage = open_storage(str(tmp_path / "workspace"))
    images = [LabelledImage(f"{number}.jpg", "cat", jpeg(number)) for number in range(3)]
    spool = Spool(str(tmp_path / "spool"), images)

    (address,) = on_vertex.copy_instances(storage, "serving/batch/model-1", spool, no_log, of_automl=True)

    with open(address, encoding="utf-8") as file:
        instances = [json.loads(line) for line in file]
    assert sorted(automl_dataset.digest_of(of["content"]) for of in instances) == spool.digests
    for of in instances:
        assert of["mimeType"] == "image/jpeg" and pathlib.Path(of["content"]).is_file()
    answered, failed = instances[:2], instances[2]
    prediction = {"ids": ["7", "8"], "displayNames": ["dog", "cat"], "confidences": [0.25, 0.75]}
    rows = [{"instance": of, "prediction": prediction} for of in answered]
    rows.append({"instance": failed, "error": {"message": "too large"}})
    storage.write("answers/predictions_00001.jsonl", "\n".join(map(json.dumps, rows)).encode())
    found, problem = on_vertex.read_answers(storage, storage.address("answers"))
    assert {digest: answer[:2] for digest, answer in found.items()} == {
        automl_dataset.digest_of(of["content"]): ("cat", 0.75) for of in answered
    }
    assert "too large" in problem
