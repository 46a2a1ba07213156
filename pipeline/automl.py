"""The AutoML pipeline: takes spans, has Vertex AI train a cloud model and a device model of them, and releases both.

Needs no modules: AutoML chooses the networks. The nodes that call Vertex AI are Google's components
(https://google-cloud-pipeline-components.readthedocs.io); our own are in nodes/.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
from pipeline.data import automl_dataset
from pipeline.nodes import components
from pipeline.plan import AutomlPlan
from pipeline.serving import device_channel, firebase

# https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
IMPORT_SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/ioformat/" + (
    "image_classification_single_label_io_format_1.0.0.yaml"
)
# Without these filters AutoML ignores the import file's split:
# https://cloud.google.com/vertex-ai/docs/general/ml-use
SPLIT = {
    f"{use}_filter_split": f"labels.aiplatform.googleapis.com/ml_use={use}"
    for use in ("training", "validation", "test")
}


@dataclass(frozen=True)
class Parameters:
    """What differs from run to run: the root parameters of the compiled pipeline."""

    settings: str  # a Config as JSON
    run: str  # an AutomlPlan as JSON
    commit: str  # of this repository, "" where it is not known
    project: str
    location: str
    name: str  # of the dataset, the training and the batch prediction of the cloud model, and of that model
    edge_name: str  # of the training of the device model, and of that model
    cloud_budget: int  # milli node hours
    edge_budget: int
    predictions: str  # gs:// folder
    exports: str  # gs:// folder


def create_pipeline(config: Config) -> Any:
    """Trains both models on the spans; releases both if they are good enough (see quality/). Returns a pipeline of KFP.

    Where an endpoint is configured, a released model gets a share of its traffic; where a channel is, the same share of
    the devices on beta.
    """
    from google_cloud_pipeline_components.v1.automl.training_job import AutoMLImageTrainingJobRunOp
    from google_cloud_pipeline_components.v1.batch_predict_job import ModelBatchPredictOp
    from google_cloud_pipeline_components.v1.dataset import ImageDatasetCreateOp
    from google_cloud_pipeline_components.v1.model import ModelExportOp
    from kfp import dsl

    if config.device_channel:
        device_channel.check_settings(config, on_vertex=True)
    if config.firebase_model:
        firebase.check_settings(config)
    key = config.encryption_key
    dataset_key = {"encryption_spec_key_name": key} if key else {}
    training_keys = {f"{of}_encryption_spec_key_name": key for of in ("training", "model")} if key else {}
    labels = {"pipeline": "automl"}

    @dsl.pipeline(name="automl", description=__doc__.partition("\n")[0])
    def automl(
        settings: str,
        run: str,
        commit: str,
        project: str,
        location: str,
        name: str,
        edge_name: str,
        cloud_budget: int,
        edge_budget: int,
        predictions: str,
        exports: str,
    ):
        place = {"project": project, "location": location}
        listed = components.import_file(config.image)(settings=settings, run=run)
        dataset = ImageDatasetCreateOp(
            **place,
            display_name=name,
            gcs_source=listed.outputs["import_file"],
            import_schema_uri=IMPORT_SCHEMA,
            labels=labels,
            **dataset_key,
        )

        training = {
            **place,
            "dataset": dataset.outputs["dataset"],
            "prediction_type": "classification",
            "multi_label": False,
            "disable_early_stopping": False,
            "labels": labels,
            **SPLIT,
            **training_keys,
        }
        cloud = AutoMLImageTrainingJobRunOp(
            display_name=name, model_type="CLOUD", budget_milli_node_hours=cloud_budget, **training
        )
        edge = AutoMLImageTrainingJobRunOp(
            display_name=edge_name,
            model_type=config.automl_edge_model,
            budget_milli_node_hours=edge_budget,
            **training,
        )
        export = ModelExportOp(model=edge.outputs["model"], export_format_id="tflite", artifact_destination=exports)
        predicted = ModelBatchPredictOp(
            **place,
            job_display_name=name,
            model=cloud.outputs["model"],
            instances_format="jsonl",
            gcs_source_uris=listed.outputs["instances"],
            predictions_format="jsonl",
            gcs_destination_output_uri_prefix=predictions,
            model_parameters=automl_dataset.ALL_LABELS,
            labels=labels,
            **dataset_key,
        )
        released = components.release(config.image)(
            settings=settings,
            run=run,
            commit=commit,
            cloud_model=cloud.outputs["model"],
            predictions=predicted.outputs["gcs_output_directory"],
            export=export.outputs["output_info"],
        )
        nodes = {
            "ImportFile": listed,
            "Dataset": dataset,
            "CloudTrainer": cloud,
            "EdgeTrainer": edge,
            "Export": export,
            "Predictions": predicted,
            "Release": released,
        }

        tag = {"settings": settings, "released": released.outputs["released"]}
        if config.endpoint:
            nodes["Deploy"] = components.after_release(config.image, "deploy")(**tag)
        if config.device_channel:
            nodes["Publish"] = components.after_release(config.image, "publish")(**tag)
        if config.firebase_model:
            nodes["Firebase"] = components.after_release(config.image, "firebase")(**tag)
        for node, task in nodes.items():
            task.set_display_name(node).set_caching_options(config.caching)

    return automl


def parameters(config: Config, plan: AutomlPlan, commit: str, pipeline_root: str) -> Parameters:
    """Returns the parameters of a planned run."""
    return Parameters(
        settings=config.to_json(),
        run=plan.to_json(),
        commit=commit,
        project=config.project,
        location=config.region,
        name=f"spanloop-{plan.identity[:12]}",
        edge_name=f"spanloop-{plan.identity[:12]}-edge",
        cloud_budget=plan.cloud_budget,
        edge_budget=plan.edge_budget,
        predictions=f"{pipeline_root}/predictions",
        exports=f"{pipeline_root}/exports",
    )
