"""Batch prediction jobs, created by Google's own client: input, output and states."""

import base64
import json
import time

import pytest
from google.cloud import aiplatform_v1 as types

State = types.JobState
RESOURCES = {"machine_spec": {"machine_type": "n1-standard-2"}, "starting_replica_count": 2, "max_replica_count": 3}
PICTURE = {"b64": base64.b64encode(b"ab").decode()}


class Batches:
    """Jobs of one model, and their files."""

    def __init__(self, vertex, model: str):
        self.vertex, self.model = vertex, model
        self.bucket = f"gs://{vertex.cloud.bucket}"

    def put(self, name: str, *lines) -> None:
        text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
        self.vertex.cloud.gcs.put(f"{self.bucket}/{name}", text.encode())

    def job(self, *names: str, **changes):
        return {
            "display_name": "numbers",
            "model": self.model,
            "input_config": {
                "instances_format": "jsonl",
                "gcs_source": {"uris": [f"{self.bucket}/{name}" for name in names or ("in.jsonl",)]},
            },
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": f"{self.bucket}/out"},
            },
            "dedicated_resources": RESOURCES,
        } | changes

    def start(self, *names: str, **changes):
        job = self.job(*names, **changes)
        return self.vertex.jobs.create_batch_prediction_job(parent=self.vertex.parent, batch_prediction_job=job)

    def get(self, job):
        return self.vertex.jobs.get_batch_prediction_job(name=job.name)

    def ended(self, job):
        until = time.monotonic() + 60
        while job.state in (State.JOB_STATE_PENDING, State.JOB_STATE_RUNNING, State.JOB_STATE_CANCELLING):
            assert time.monotonic() < until
            time.sleep(0.02)
            job = self.get(job)
        return job

    def written(self, job) -> dict[str, list[str]]:
        gcs, folder = self.vertex.cloud.gcs, job.output_info.gcs_output_directory
        found = {f"{self.bucket}/{name}" for name in gcs.names(f"{folder}/")}
        return {name.removeprefix(f"{folder}/"): gcs.read(name).decode().splitlines() for name in sorted(found)}


@pytest.fixture
def batches(vertex):
    return Batches(vertex, vertex.upload())


def test_predictions_are_written_with_their_keys_and_failures_as_messages(vertex, batches, doubling):
    vertex.put(doubling)
    for file, numbers in (("in/a.jsonl", (1, 2, 3)), ("in/b.jsonl", (4, 1001)), ("in/c.txt", (9,))):
        batches.put(file, *({"key": f"n-{n}", "number": n, "image": PICTURE} for n in numbers))

    job = batches.start("in/*.jsonl", instance_config={"instance_type": "object", "key_field": "key"})
    assert job.state == State.JOB_STATE_PENDING and job.model_version_id == "1"
    job = batches.ended(job)

    assert job.state == State.JOB_STATE_SUCCEEDED, job.error
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (4, 1)
    assert job.output_info.gcs_output_directory.startswith(f"{batches.bucket}/out/prediction-one-20")
    files = batches.written(job)
    assert sorted(files) == [
        "prediction.errors_stats-00000-of-00001",
        "prediction.results-00000-of-00002",
        "prediction.results-00001-of-00002",
    ]
    (error,) = files.pop("prediction.errors_stats-00000-of-00001")
    assert "too large" in error and error.startswith("('Post request fails.") and error.endswith(", 1)")
    rows = {row["key"]: row["prediction"] for lines in files.values() for row in map(json.loads, lines)}
    turned = {"b64": base64.b64encode(b"ba").decode()}
    assert rows == {f"n-{n}": {"twice": 2.0 * n, "text": f"{n}", "turned_bytes": turned} for n in (1, 2, 3, 4)}

    batches.put("in.jsonl", {"number": 5, "image": PICTURE, "note": "not for the model"})
    job = batches.ended(
        batches.start(
            instance_config={"excluded_fields": ["note"]}, dedicated_resources=RESOURCES | {"starting_replica_count": 1}
        )
    )
    (line,) = batches.written(job)["prediction.results-00000-of-00001"]
    assert json.loads(line)["instance"]["note"] == "not for the model"
    assert json.loads(line)["prediction"]["twice"] == 10.0


@pytest.mark.parametrize(
    ("kind", "words", "changes"),
    [
        ("bad", "display_name", {"display_name": ""}),
        ("bad", "label", {"labels": {"a": "B"}}),
        ("bad", "model", {"model": ""}),
        ("missing", "@7", {"model": "projects/spanloop-local/locations/europe-west1/models/1000@7"}),
        (
            "bad",
            "instances_format",
            {"input_config": {"instances_format": "json", "gcs_source": {"uris": ["gs://b/c"]}}},
        ),
        ("bad", "uris", {"input_config": {"instances_format": "jsonl"}}),
        ("missing", "bucket", {"input_config": {"instances_format": "jsonl", "gcs_source": {"uris": ["gs://abc/c"]}}}),
        ("bad", "predictions_format", {"output_config": {"gcs_destination": {"output_uri_prefix": "gs://b/c"}}}),
        ("bad", "dedicated_resources", {"dedicated_resources": None}),
        ("bad", "machine_type", {"dedicated_resources": {"starting_replica_count": 1}}),
        ("bad", "replica_count", {"dedicated_resources": RESOURCES | {"starting_replica_count": 4}}),
        ("bad", "instance_type", {"instance_config": {"instance_type": "row"}}),
    ],
)
def test_an_invalid_job_is_refused(vertex, batches, refused, kind, words, changes):
    with refused(kind, words):
        batches.start(**changes)
    assert not list(vertex.jobs.list_batch_prediction_jobs({"parent": vertex.parent}))


def test_a_job_that_cannot_run_fails_with_an_error(batches):
    keyed = {"instance_config": {"instance_type": "object", "key_field": "key"}}
    batches.put("text.jsonl", "number: 4")
    batches.put("list.jsonl", [4])
    batches.put("keyless.jsonl", {"number": 4})
    for name, words in (
        ("none.jsonl", "No files were found"),
        ("text.jsonl", "not JSON: .*line 1"),
        ("list.jsonl", "must be an object"),
        ("keyless.jsonl", "'key' is missing"),
    ):
        job = batches.ended(batches.start(name, **keyed))
        assert job.state == State.JOB_STATE_FAILED
        with pytest.raises(RuntimeError, match=words):
            raise RuntimeError(job.error.message)


def test_jobs_wait_are_found_cancelled_and_deleted(vertex, batches, refused):
    batches.put("in.jsonl", {"number": 4})
    vertex.cloud.vertex.batches.hold()
    one, two = batches.start(), batches.start(display_name="others")

    def found(wanted: str) -> list[str]:
        asked = {"parent": vertex.parent, "filter": wanted}
        return [job.name for job in vertex.jobs.list_batch_prediction_jobs(asked)]

    assert found('display_name="others"') == [two.name]
    with refused("not now"):
        vertex.jobs.delete_batch_prediction_job(name=one.name)
    vertex.jobs.cancel_batch_prediction_job(name=one.name)
    assert found('state="JOB_STATE_CANCELLED"') == [one.name]
    vertex.cloud.vertex.batches.release()
    assert batches.ended(batches.get(two)).state == State.JOB_STATE_FAILED  # its container cannot load the model
    assert batches.get(one).state == State.JOB_STATE_CANCELLED
    vertex.jobs.delete_batch_prediction_job(name=one.name).result(timeout=60)
    with refused("missing"):
        batches.get(one)
