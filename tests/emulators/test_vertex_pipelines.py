"""Pipelines on the local Vertex AI, submitted by Google's own client: validation and execution."""

import base64
import copy
import time

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1 as types
from google.protobuf import json_format

from pipeline.cloud.calls import poll_intervals
from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.orchestrators import past_runs
from tests.conftest import IMAGE
from tests.emulators.vertex.processes import Plain

# The program of the tests' containers: writes its outputs, and a line to its log.
PROGRAM = '''
"""A task."""

import json
import os
import pathlib
import sys
import time

executor_input = json.loads(sys.argv[1])
inputs = executor_input["inputs"]["parameterValues"]
print("ran", inputs, os.getcwd(), sorted(name for name in os.environ if name.startswith(("GCP_", "GOOGLE_", "CLOUD_"))))
if inputs.get("seconds"):
    pathlib.Path(inputs["mark"]).touch()
    time.sleep(inputs["seconds"])
if inputs.get("fails"):
    raise RuntimeError("the data ran out")
from google.cloud import storage
client = storage.Client()
def write(path, text):
    address = path.replace("/gcs/", "gs://", 1)
    storage.Blob.from_string(address, client).upload_from_string(text)
for name, parameter in executor_input["outputs"]["parameters"].items():
    write(parameter["outputFile"], "message")
output = {"artifacts": {
    name: {"artifacts": [{"name": each["artifacts"][0]["name"], "metadata": {"good": inputs.get("good", "no")}}]}
    for name, each in executor_input["outputs"]["artifacts"].items()
}}
write(executor_input["outputs"]["outputFile"], json.dumps(output))
'''
STRING, NUMBER = {"parameterType": "STRING"}, {"parameterType": "NUMBER_INTEGER"}
ARTIFACT = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
INPUTS = {"seconds": NUMBER, "fails": STRING, "good": STRING, "mark": STRING}


def optional(parameters: dict) -> dict:
    return {name: {**parameter, "isOptional": True} for name, parameter in parameters.items()}


def task(after: str = "", makes: str = "", **parameters: object) -> dict:
    """A task of the component `work` or `end`; `after` is the task whose `data` it takes."""
    inputs = {name: {"runtimeValue": {"constant": value}} for name, value in parameters.items()}
    given = {"parameters": inputs}
    if after:
        source = {"producerTask": after, "outputArtifactKey": "data"}
        given["artifacts"] = {"before": {"taskOutputArtifact": source}}
    return {
        "componentRef": {"name": "follow" if after else "work"},
        "inputs": given,
        "taskInfo": {"name": makes},
        "cachingOptions": {"enableCache": True},
    }


def spec(**tasks: dict) -> dict:
    """A pipeline spec of these tasks in the compiler's format."""
    command = {"image": IMAGE, "command": ["python", "-m", "small.task"], "args": ["{{$}}"]}
    made = {"artifacts": {"data": ARTIFACT}}
    work = {"executorLabel": "work", "inputDefinitions": {"parameters": optional(INPUTS)}, "outputDefinitions": made}
    follow = copy.deepcopy(work)
    follow["inputDefinitions"]["artifacts"] = {"before": ARTIFACT}
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "tests-1",
        "pipelineInfo": {"name": "small"},
        "root": {"dag": {"tasks": tasks}, "inputDefinitions": {"parameters": {"who": STRING}}},
        "components": {"work": work, "follow": follow},
        "deploymentSpec": {"executors": {"work": {"container": command}}},
    }


class Vertex:
    """Submits pipelines and reads their state."""

    def __init__(self, cloud, folder):
        package = folder / "image" / "small"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "task.py").write_text(PROGRAM)
        self.cloud = cloud
        cloud.vertex.workers.images.add(IMAGE, package.parent)
        self.parent = location(Config(project=cloud.project, region=cloud.region))
        self.jobs = client(Config(region=cloud.region), "PipelineService")

    def submit(self, pipeline: dict, name: str = "", parent: str = "", **changes: object) -> types.PipelineJob:
        job = {
            "displayName": "small",
            "pipelineSpec": pipeline,
            "runtimeConfig": {"gcsOutputDirectory": f"gs://{self.cloud.bucket}/root", "parameterValues": {"who": "me"}},
            "serviceAccount": self.cloud.account,
        } | changes
        message = types.PipelineJob.wrap(json_format.ParseDict(job, types.PipelineJob.pb(types.PipelineJob())))
        return self.jobs.create_pipeline_job(
            parent=parent or self.parent, pipeline_job=message, pipeline_job_id=name or None
        )

    def run(self, pipeline: dict, **changes: object) -> tuple[str, dict[str, str]]:
        """Waits for a job; returns its state and the state of each task."""
        job = self.cloud.vertex.pipelines.wait(self.submit(pipeline, **changes).name)
        found = self.jobs.get_pipeline_job(name=job.name)
        self.last = found
        states = {detail.task_name: detail.state.name for detail in found.job_detail.task_details}
        assert states.pop("small")  # Vertex AI lists the pipeline itself, too
        return found.state.name.removeprefix("PIPELINE_STATE_"), states

    def error(self, name: str) -> str:
        (detail,) = (each for each in self.last.job_detail.task_details if each.task_name == name)
        return detail.error.message

    @property
    def ran(self) -> int:
        return len(self.cloud.vertex.workers.commands)


@pytest.fixture
def vertex(cloud_environment, tmp_path):
    return Vertex(cloud_environment, tmp_path)


def test_tasks_run_in_order_and_equal_ones_are_cached(vertex):
    pipeline = spec(first=task(good="yes"), second=task(after="first"), third=task(after="second"))

    assert vertex.run(pipeline) == ("SUCCEEDED", dict.fromkeys(("first", "second", "third"), "SUCCEEDED"))
    assert vertex.ran == 3
    details = {each.task_name: each for each in vertex.last.job_detail.task_details}
    assert details["first"].end_time <= details["second"].start_time <= details["second"].end_time
    (made,) = details["first"].outputs["data"].artifacts
    assert made.uri.startswith(f"gs://{vertex.cloud.bucket}/root/{vertex.cloud.project_number}/small-")
    assert details["second"].inputs["before"].artifacts[0].name == made.name

    changed = spec(first=task(good="yes"), second=task(after="first", good="yes"), third=task(after="second"))
    before = json_format.MessageToDict(types.PipelineJob.pb(vertex.last))
    assert past_runs.cached_nodes({**before, "pipelineSpec": changed}, [before]) == ["first"]
    assert vertex.run(changed)[1] == {"first": "SKIPPED", "second": "SUCCEEDED", "third": "SUCCEEDED"}
    assert vertex.ran == 5


def test_a_container_has_the_image_and_its_own_account_but_not_the_callers_environment(vertex, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_callers")
    vertex.run(spec(first=task()))
    (log,) = vertex.cloud.vertex.workers.logs().values()
    assert "CLOUD_ML_JOB_ID" in log and "/image " in log
    assert "GCP_" not in log and "ghp_callers" not in log
    assert {asked.principal for asked in vertex.cloud.asked("storage")} == {vertex.cloud.account}


def test_a_failed_task_has_an_error_and_later_tasks_do_not_run(vertex):
    last = task() | {"triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}, "dependentTasks": ["first"]}
    pipeline = spec(first=task(fails="yes"), second=task(after="first"), last=last)

    state, tasks = vertex.run(pipeline)

    assert state == "FAILED" and vertex.last.error.message.endswith("failed tasks are: [first].")
    assert tasks == {"first": "FAILED", "last": "SUCCEEDED"}, "the last one is an exit handler"
    assert "RuntimeError: the data ran out" in vertex.error("first") and "status of 1" in vertex.error("first")


def test_a_task_on_a_lost_machine_is_retried_as_often_as_the_spec_allows(vertex):
    retried = task() | {"retryPolicy": {"maxRetryCount": 2}}
    vertex.cloud.vertex.pipelines.fail("first", times=2, after=True)
    assert vertex.run(spec(first=retried))[0] == "SUCCEEDED" and vertex.ran == 3

    vertex.cloud.vertex.pipelines.fail("second")
    assert vertex.run(spec(second=task(good="x")))[0] == "FAILED"


@pytest.mark.parametrize("good, state", [("yes", "SUCCEEDED"), ("no", "NOT_TRIGGERED")])
def test_a_condition_depends_on_the_metadata_of_an_artifact(vertex, good, state):
    condition = "inputs.artifacts['before'].artifacts[0].metadata['good'] == 'yes'"
    pipeline = spec(
        first=task(good=good),
        second=task(after="first") | {"triggerPolicy": {"condition": condition}},
        third=task(after="second"),
    )
    assert vertex.run(pipeline) == ("SUCCEEDED", {"first": "SUCCEEDED", "second": state, "third": state})


def test_artifacts_imported_or_made_before_are_found(vertex):
    pipeline = spec(import_=task(), find=task(), use=task(after="find"))
    schema = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
    importer = {"artifactUri": {"constant": "gs://data/x"}, "typeSchema": schema}
    query = {"filter": 'schema_title="system.Dataset" AND state=LIVE AND uri="gs://data/x"'}
    pipeline["deploymentSpec"]["executors"] |= {
        "importer": {"importer": importer},
        "resolver": {"resolver": {"outputArtifactQueries": {"data": query}}},
    }
    for name in ("importer", "resolver"):
        pipeline["components"][name] = {"executorLabel": name, "outputDefinitions": {"artifacts": {"data": ARTIFACT}}}
    tasks = pipeline["root"]["dag"]["tasks"]
    tasks["import_"] = {"componentRef": {"name": "importer"}, "taskInfo": {"name": "import_"}}
    tasks["find"] = {"componentRef": {"name": "resolver"}, "taskInfo": {"name": "find"}, "dependentTasks": ["import_"]}

    assert vertex.run(pipeline)[0] == "SUCCEEDED"
    (use,) = (each for each in vertex.last.job_detail.task_details if each.task_name == "use")
    assert [artifact.uri for artifact in use.inputs["before"].artifacts] == ["gs://data/x"]


def test_cancelling_a_run_ends_its_containers(vertex, tmp_path):
    mark = tmp_path / "mark"
    pipeline = spec(first=task(seconds=60, mark=str(mark)), second=task(after="first"))
    name = vertex.submit(pipeline).name
    for pause in poll_intervals(0.1):
        if mark.exists():
            break
        time.sleep(pause)

    vertex.jobs.cancel_pipeline_job(name=name)

    job = vertex.cloud.vertex.pipelines.wait(name)
    assert job.state.name == "PIPELINE_STATE_CANCELLED"
    assert {each.state.name for each in job.job_detail.task_details} == {"CANCELLED"}
    with pytest.raises(exceptions.FailedPrecondition, match="has ended"):
        vertex.jobs.cancel_pipeline_job(name=name)


def test_a_task_may_run_as_a_plain_process(vertex):
    vertex.cloud.vertex.containers = Plain(vertex.cloud.vertex.workers.images.find)
    assert vertex.run(spec(first=task()))[0] == "SUCCEEDED"


def test_a_name_is_used_once_and_jobs_are_listed_by_label_newest_first(vertex):
    vertex.cloud.vertex.pipelines.hold()
    for number in range(3):
        vertex.submit(spec(first=task()), f"small-{number}", labels={"pipeline": "odd" if number % 2 else "even"})
    with pytest.raises(exceptions.AlreadyExists):
        vertex.submit(spec(first=task()), "small-0")

    asked = {
        "parent": vertex.parent,
        "filter": 'labels.pipeline="even"',
        "order_by": "create_time desc",
        "page_size": 1,
    }
    assert [job.name[-7:] for job in vertex.jobs.list_pipeline_jobs(asked)] == ["small-2", "small-0"]
    with pytest.raises(exceptions.InvalidArgument, match="filter"):
        vertex.jobs.list_pipeline_jobs(asked | {"filter": "pipeline is even"})
    with pytest.raises(exceptions.FailedPrecondition, match="not ended"):
        vertex.jobs.delete_pipeline_job(name=f"{vertex.parent}/pipelineJobs/small-0")


def damaged(path: str, value: object) -> dict:
    """A pipeline of two tasks with the value at a path replaced."""
    pipeline = spec(first=task(), second=task(after="first"))
    *before, last = path.split("/")
    place = pipeline
    for name in before:
        place = place[name]
    place[last] = value
    return pipeline


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("surprise", 1, "surprise"),
        ("schemaVersion", "3.0", "schema_version"),
        ("pipelineInfo/name", "Not A Name", "pipeline_info.name"),
        ("root/dag/tasks/second/inputs/artifacts/before/taskOutputArtifact/producerTask", "unknown", "unknown"),
        ("root/dag/tasks/second/inputs/artifacts/before/taskOutputArtifact/outputArtifactKey", "none", "no output"),
        ("root/dag/tasks/second/inputs/artifacts", {}, "not given the artifacts"),
        ("root/dag/tasks/first/dependentTasks", ["second"], "wait for each other"),
        ("root/dag/tasks/first/componentRef/name", "nothing", "not defined"),
        ("root/dag/tasks/first/inputs/parameters/more", {"runtimeValue": {"constant": "x"}}, "does not have"),
        ("components/work/executorLabel", "gone", "no executor"),
        ("deploymentSpec/executors/work/container/image", IMAGE.replace("@sha256:", ":"), "digest"),
    ],
)
def test_an_invalid_spec_is_refused_before_anything_runs(vertex, path, value, message):
    with pytest.raises(exceptions.InvalidArgument, match=message):
        vertex.submit(damaged(path, value))
    assert not vertex.cloud.vertex.pipelines.jobs


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "No_Name"}, "pipeline_job_id"),
        ({"labels": {"Commit": "x"}}, "label"),
        ({"labels": {"commit": "A" * 3}}, "label"),
        ({"serviceAccount": "me@example.com"}, "Service account"),
        ({"network": "default"}, "network"),
        ({"encryptionSpec": {"kmsKeyName": "projects/p/locations/us/keyRings/r/cryptoKeys/k"}}, "kms_key_name"),
        ({"runtimeConfig": {"parameterValues": {"who": "me"}}}, "gcs_output_directory"),
        ({"runtimeConfig": {"gcsOutputDirectory": "gs://spanloop-local/x"}}, "required"),
        ({"runtimeConfig": {"gcsOutputDirectory": "gs://spanloop-local/x", "parameterValues": {"what": ""}}}, "what"),
        ({"runtimeConfig": {"gcsOutputDirectory": "gs://spanloop-local/x", "parameterValues": {"who": 1}}}, "STRING"),
        (
            {
                "runtimeConfig": {
                    "gcsOutputDirectory": "gs://spanloop-local/x",
                    "parameters": {"who": {"stringValue": "me"}},
                }
            },
            "parameter_values",
        ),
        ({"parent": "projects/spanloop-local/locations/us-central1"}, "not served"),
        ({"parent": "spanloop-local"}, "resource name"),
    ],
)
def test_an_invalid_job_is_refused(vertex, changes, message):
    with pytest.raises(exceptions.InvalidArgument, match=message):
        vertex.submit(spec(first=task()), **changes)
    assert not vertex.cloud.vertex.pipelines.jobs


def test_an_account_or_a_role_that_is_missing_is_refused(vertex):
    cloud = vertex.cloud
    with pytest.raises(exceptions.PermissionDenied):
        vertex.submit(spec(first=task()), parent=f"projects/another-project/locations/{cloud.region}")
    cloud.policies.revoke(f"projects/{cloud.project}", "roles/aiplatform.user", cloud.account)
    with pytest.raises(exceptions.PermissionDenied, match="pipelineJobs.create"):
        vertex.submit(spec(first=task()))


def test_an_image_that_was_not_pushed_fails_the_task(vertex):
    vertex.cloud.vertex.workers.images.reset()
    assert vertex.run(spec(first=task()))[0] == "FAILED"
    assert "manifest unknown" in vertex.error("first")


def test_a_prediction_comes_from_the_model_that_the_traffic_split_selects(serving):
    """Each deployed model serves its share of the predictions."""
    from pipeline.data import digits
    from pipeline.serving import endpoint

    endpoint.deploy(serving.config, serving.release(1))
    endpoint.deploy(serving.settings(canary_traffic=25), serving.release(2))
    predictions, name = client(serving.config, "PredictionService"), serving.endpoint.name
    picture = base64.b64encode(next(digits.images(digits.FIRST))[1]).decode()

    def ask(*instances: dict) -> types.PredictResponse:
        return predictions.predict(
            endpoint=name, instances=[json_format.ParseDict(each, _value()) for each in instances]
        )

    found = [ask({"image": {"b64": picture}}) for _ in range(8)]
    assert sorted(each.model_version_id for each in found) == ["1"] * 6 + ["2"] * 2
    assert all(dict(each.predictions[0])["label"] in set("0123456789") for each in found)
    with pytest.raises(exceptions.InvalidArgument):
        ask({"picture": "x"})


def _value():
    from google.protobuf import struct_pb2

    return struct_pb2.Value()
