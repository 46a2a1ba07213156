"""Google's pipeline components, run with the command lines that kfp's compiler writes for them."""

import json
import time

import pytest
import yaml
from google.api_core import exceptions
from google.cloud import aiplatform_v1 as types
from google.protobuf import json_format

from pipeline.cloud.calls import poll_intervals
from tests.emulators.vertex import pets
from tests.emulators.vertex.components import IMAGE
from tests.emulators.vertex.import_file import ML_USE, SCHEMA, USES

FILTERS = {f"{use}_filter_split": f"labels.{ML_USE}={use}" for use in USES}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict:
    """A pipeline that trains an edge model on a dataset and exports it."""
    from google_cloud_pipeline_components.v1.automl.training_job import AutoMLImageTrainingJobRunOp
    from google_cloud_pipeline_components.v1.dataset import ImageDatasetCreateOp
    from google_cloud_pipeline_components.v1.model import ModelExportOp
    from kfp import compiler, dsl

    @dsl.pipeline(name="pets")
    def pipeline(project: str, location: str, source: str, exports: str, budget: int):
        where = {"project": project, "location": location, "display_name": "pets"}
        dataset = ImageDatasetCreateOp(**where, gcs_source=source, import_schema_uri=SCHEMA)
        training = AutoMLImageTrainingJobRunOp(
            **where,
            dataset=dataset.outputs["dataset"],
            model_type="MOBILE_TF_VERSATILE_1",
            budget_milli_node_hours=budget,
            model_labels={"flavour": "automl"},
            **FILTERS,
        )
        ModelExportOp(model=training.outputs["model"], export_format_id="tflite", artifact_destination=exports)

    file = tmp_path_factory.mktemp("compiled") / "pets.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    return yaml.safe_load(file.read_text())


class Submitted:
    """Submits the pipeline and reads what it made."""

    def __init__(self, vertex):
        self.vertex, self.client = vertex, vertex.service("Pipeline")
        self.exports = f"gs://{vertex.cloud.bucket}/exports"

    def submit(self, spec: dict, **changes: object) -> str:
        cloud = self.vertex.cloud
        values = {
            "project": cloud.project,
            "location": cloud.region,
            "source": pets.put(cloud),
            "exports": self.exports,
            "budget": 1000,
        } | changes
        job = {
            "displayName": "pets",
            "pipelineSpec": spec,
            "runtimeConfig": {"gcsOutputDirectory": f"gs://{cloud.bucket}/root", "parameterValues": values},
            "serviceAccount": cloud.account,
        }
        message = types.PipelineJob.wrap(json_format.ParseDict(job, types.PipelineJob.pb(types.PipelineJob())))
        return self.client.create_pipeline_job(parent=self.vertex.parent, pipeline_job=message).name

    def ended(self, name: str) -> types.PipelineJob:
        self.vertex.cloud.vertex.pipelines.wait(name)
        return self.client.get_pipeline_job(name=name)


@pytest.fixture
def submitted(vertex) -> Submitted:
    return Submitted(vertex)


def test_components_create_train_and_export_as_the_pipelines_account(vertex, submitted, compiled):
    job = submitted.ended(submitted.submit(compiled))

    logs = vertex.cloud.vertex.workers.logs()
    assert job.state.name == "PIPELINE_STATE_SUCCEEDED", (job.error, logs)
    (model,) = vertex.models.list_models(parent=vertex.parent)
    assert dict(model.labels) == {"flavour": "automl"} and len(model.supported_export_formats) == 5
    details = {each.task_name: each for each in job.job_detail.task_details}
    (artifact,) = details["automl-image-training-job"].outputs["model"].artifacts
    assert artifact.uri == f"https://{vertex.cloud.region}-aiplatform.googleapis.com/v1/{model.name}"
    (taken,) = details["model-export"].inputs["model"].artifacts
    assert taken.name == artifact.name
    names = vertex.cloud.gcs.names(f"{submitted.exports}/")
    assert [name.rpartition("/")[2] for name in names] == ["dict.txt", "model.tflite", "tflite_metadata.json"]
    (dataset,) = vertex.service("Dataset").list_datasets(parent=vertex.parent)
    assert dataset.labels["vertex-ai-pipelines-run-billing-id"] == "1"
    callers = {call.principal for call in vertex.cloud.asked("aiplatform", "CreateTrainingPipeline")}
    assert callers == {vertex.cloud.account}
    root = f"gs://{vertex.cloud.bucket}/root/{vertex.cloud.project_number}/{job.name.rpartition('/')[2]}"
    written = f"{root}/model-export_{details['model-export'].task_id}/output_info"
    assert json.loads(vertex.cloud.gcs.read(written))["artifactOutputUri"].startswith(submitted.exports)


def test_a_component_whose_request_is_refused_fails_the_run_with_the_reason(submitted, compiled):
    job = submitted.ended(submitted.submit(compiled, budget=999))

    assert job.state.name == "PIPELINE_STATE_FAILED" and job.error.message.endswith("[automl-image-training-job].")
    (detail,) = (each for each in job.job_detail.task_details if each.task_name == "automl-image-training-job")
    assert "must be from 1000 to 100000, not 999" in detail.error.message


def test_cancelling_a_run_cancels_the_training_that_its_component_waits_for(vertex, submitted, compiled):
    vertex.cloud.vertex.training.hold()
    name = submitted.submit(compiled)
    for pause in poll_intervals(0.1):
        if trainings := list(submitted.client.list_training_pipelines(parent=vertex.parent)):
            break
        time.sleep(pause)

    submitted.client.cancel_pipeline_job(name=name)

    assert submitted.ended(name).state.name == "PIPELINE_STATE_CANCELLED"
    training = submitted.client.get_training_pipeline(name=trainings[0].name)
    assert training.state.name == "PIPELINE_STATE_CANCELLED"


@pytest.mark.parametrize("image", [IMAGE.rpartition(":")[0], f"{IMAGE}1", "gcr.io/ml-pipeline/other:2.22.0"])
def test_an_image_that_is_not_the_installed_components_is_refused(submitted, compiled, image):
    changed = json.loads(json.dumps(compiled).replace(IMAGE, image))
    with pytest.raises(exceptions.InvalidArgument, match="not named by its digest"):
        submitted.submit(changed)
