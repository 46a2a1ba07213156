"""AutoML image classification, used by Google's own SDK: datasets, training, export and prediction."""

import base64
import json
import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from google.api_core import exceptions
from google.protobuf import json_format, struct_pb2

from tests.emulators.vertex import pets
from tests.emulators.vertex.import_file import ML_USE, SCHEMA, USES
from tests.emulators.vertex.training import DEFINITION

FILTERS = {f"{use}_filter_split": f"labels.{ML_USE}={use}" for use in USES}


@pytest.fixture
def sdk(vertex, monkeypatch):
    """The SDK, which waits shortly between its questions."""
    from google.cloud import aiplatform

    monkeypatch.setattr(aiplatform.training_jobs, "_JOB_WAIT_TIME", 0.1)
    monkeypatch.setattr(aiplatform.jobs, "_JOB_WAIT_TIME", 0.1)
    aiplatform.init(project=vertex.cloud.project, location=vertex.cloud.region)
    return aiplatform


@pytest.fixture
def dataset(vertex, sdk):
    return sdk.ImageDataset.create(display_name="pets", gcs_source=pets.put(vertex.cloud), import_schema_uri=SCHEMA)


def test_an_edge_model_is_trained_and_exported_but_not_deployed(vertex, sdk, dataset, tmp_path):
    job = sdk.AutoMLImageTrainingJob(display_name="edge", model_type="MOBILE_TF_LOW_LATENCY_1")
    model = job.run(dataset=dataset, model_display_name="pets", budget_milli_node_hours=1000, **FILTERS)

    assert model.display_name == "pets" and model.version_id == "1"
    assert model.gca_resource.training_pipeline == job.resource_name
    assert job.to_dict()["trainingTaskMetadata"]["costMilliNodeHours"] == "1000"
    prefix = f"gs://{vertex.cloud.bucket}/exports"
    # By the SDK's client: its export_model reads the metadata in a way that fails after some imports of other tests.
    wanted = {"export_format_id": "tflite", "artifact_destination": {"output_uri_prefix": prefix}}
    export = model.api_client.export_model(name=model.resource_name, output_config=wanted)
    export.result()
    folder = export.metadata.output_info.artifact_output_uri
    assert folder.startswith(f"{prefix}/model-{model.name}/tflite/20")
    assert vertex.cloud.gcs.read(f"{folder}/dict.txt").decode().splitlines() == list(pets.LABELS)
    assert predicted(vertex.cloud.gcs.read(f"{folder}/model.tflite")) == list(pets.LABELS)

    with pytest.raises(ValueError, match="supported export format"):
        model.export_model("custom-trained", artifact_destination=prefix)
    with pytest.raises(exceptions.FailedPrecondition, match="does not support batch prediction"):
        model.batch_predict("pets", gcs_source=f"{prefix}/in.jsonl", gcs_destination_prefix=prefix)
    endpoint = vertex.create()
    with pytest.raises(exceptions.FailedPrecondition, match="does not support deployment"):
        vertex.deploy(endpoint, model.resource_name)


def predicted(model: bytes) -> list[str]:
    """The labels that a TFLite file predicts for an image of each label."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["dtype"], list(given["shape"]), given["quantization"]) == (np.uint8, [1, 224, 224, 3], (1.0, 0))
    assert (made["dtype"], list(made["shape"]), made["quantization"]) == (np.uint8, [1, 2], (1 / 256, 0))
    found = []
    for channel in (0, 2):
        image = np.full((1, 224, 224, 3), 60, np.uint8)
        image[..., channel] = 180
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        found.append(pets.LABELS[int(interpreter.get_tensor(made["index"])[0].argmax())])
    return found


def test_a_cloud_model_predicts_in_batches_and_online_but_is_not_exported(vertex, sdk, dataset):
    job = sdk.AutoMLImageTrainingJob(display_name="cloud", model_type="CLOUD")
    model = job.run(dataset=dataset, model_display_name="pets", budget_milli_node_hours=8000)
    bucket = f"gs://{vertex.cloud.bucket}"

    instances = [
        {"content": f"{bucket}/pets/0.png", "mimeType": "image/png"},
        {"content": f"{bucket}/pets/1.png", "mime_type": "image/png"},
        {"content": f"{bucket}/pets/none.png", "mimeType": "image/png"},
    ]
    vertex.cloud.gcs.put(f"{bucket}/in.jsonl", "".join(f"{json.dumps(each)}\n" for each in instances).encode())
    batch = model.batch_predict(
        "pets",
        gcs_source=f"{bucket}/in.jsonl",
        gcs_destination_prefix=f"{bucket}/out",
        model_parameters={"maxPredictions": 1},
    )
    blobs = {blob.name.rpartition("/")[2]: blob for blob in batch.iter_outputs()}
    rows = [json.loads(line) for line in blobs["predictions_00001.jsonl"].download_as_text().splitlines()]
    assert [row["instance"] for row in rows] == instances[:2]
    assert [row["prediction"]["displayNames"] for row in rows] == [["fox"], ["jay"]]
    (failed,) = blobs["errors_00001.jsonl"].download_as_text().splitlines()
    assert json.loads(failed)["instance"] == instances[2] and "none.png" in json.loads(failed)["error"]["message"]
    assert (batch.completion_stats.successful_count, batch.completion_stats.failed_count) == (2, 1)

    endpoint = model.deploy(min_replica_count=1, max_replica_count=2)
    content = base64.b64encode(pets.picture("jay", 99)).decode()
    answer = endpoint.predict([{"content": content}], parameters={"confidenceThreshold": 0.5})
    (prediction,) = answer.predictions
    assert prediction["displayNames"] == ["jay"] and prediction["confidences"][0] > 0.5
    assert prediction["ids"][0].isdigit()
    for instances, parameters, words in (
        ([{"content": "not base64"}], {}, "base64"),
        ([{"content": base64.b64encode(b"text").decode()}], {}, "not a valid image"),
        ([{"image": content}], {}, "only `content`"),
        ([{"content": content}], {"threshold": 0.5}, "Invalid parameters"),
    ):
        with pytest.raises(exceptions.InvalidArgument, match=words):
            endpoint.predict(instances, parameters=parameters)

    with pytest.raises(ValueError, match="not exportable"):
        model.export_model("tflite", artifact_destination=bucket)
    with pytest.raises(exceptions.FailedPrecondition, match="not exportable"):
        destination = {"output_uri_prefix": bucket}
        config = {"export_format_id": "tflite", "artifact_destination": destination}
        vertex.models.export_model(name=model.resource_name, output_config=config)
    with pytest.raises(exceptions.InvalidArgument, match="AUTOMATIC_RESOURCES"):
        vertex.deploy(endpoint.resource_name, model.resource_name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imageGcsUri": "gs://spanloop-local/pets/none.png"}, "File not found: gs://spanloop-local/pets/none.png"),
        ({"imageGcsUri": "gs://another-bucket/0.png"}, "File not found"),
        ({"imageGcsUri": "/pets/0.png"}, "is not gs://"),
        ({"imageGcsUri": "gs://spanloop-local/text.png"}, "is not an image"),
        ({"imageGcsUri": "gs://spanloop-local/large.png"}, "larger than 30 MB"),
        ({"imageGcsUri": None}, "imageGcsUri is required"),
        ({"classificationAnnotation": {"displayName": "x" * 129}}, "longer than 128"),
        ({"classificationAnnotation": {"label": "fox"}}, r"unknown fields \['label'\]"),
        ({"classificationAnnotation": {"displayName": "jay"}}, "has the label 'jay', and 'fox'"),
        ({"dataItemResourceLabels": {ML_USE: "eval"}}, "'eval', which is not one of training, validation, test"),
        ({"dataItemResourceLabels": {"Span": "1"}}, "Lower-case letters"),
        ({"dataItemResourceLabels": {"span": 1}}, "object of strings"),
        ({"label": "fox"}, r"unknown fields \['label'\]"),
    ],
)
def test_an_invalid_line_is_a_partial_failure_of_the_import(vertex, change, message):
    cloud = vertex.cloud
    folder = f"gs://{cloud.bucket}"
    cloud.gcs.put(f"{folder}/0.png", pets.picture("fox", 0))
    cloud.gcs.put(f"{folder}/text.png", b"text")
    cloud.gcs.put(f"{folder}/large.png", bytes(30_000_001))
    right = pets.line(f"{folder}/0.png")
    cloud.gcs.put(f"{folder}/import.jsonl", f"{json.dumps(right)}\n{json.dumps(right | change)}\n".encode())
    datasets = vertex.service("Dataset")
    schema = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
    made = {"display_name": "pets", "metadata_schema_uri": schema}
    name = datasets.create_dataset(parent=vertex.parent, dataset=made).result(timeout=60).name

    config = {"gcs_source": {"uris": [f"{folder}/import.jsonl"]}, "import_schema_uri": SCHEMA}
    operation = datasets.import_data(name=name, import_configs=[config])
    operation.result(timeout=60)

    (failure,) = operation.metadata.generic_metadata.partial_failures
    assert failure.message.startswith(f"{folder}/import.jsonl, line 2: ")
    assert re.search(message, failure.message)
    assert datasets.get_dataset(name=name).data_item_count == 1


def test_a_dataset_is_listed_exported_and_deleted_and_an_import_of_nothing_fails(vertex, sdk, dataset):
    assert [each.resource_name for each in sdk.ImageDataset.list()] == [dataset.resource_name]
    assert dataset.gca_resource.labels == {"aiplatform.googleapis.com/dataset_metadata_schema": "IMAGE"}
    (file,) = dataset.export_data(f"gs://{vertex.cloud.bucket}/exported")
    exported = vertex.cloud.gcs.read(file).splitlines()
    imported = vertex.cloud.gcs.read(f"gs://{vertex.cloud.bucket}/pets/import.jsonl").splitlines()
    assert [json.loads(line) for line in exported] == [json.loads(line) for line in imported]

    vertex.cloud.gcs.put(f"gs://{vertex.cloud.bucket}/empty.jsonl", b"\n{}\n")
    for source, kind, words in (
        ("empty.jsonl", exceptions.InvalidArgument, "no items to import.*line 2: imageGcsUri is required"),
        ("none.jsonl", exceptions.NotFound, "none.jsonl"),
    ):
        with pytest.raises(kind, match=words):
            dataset.import_data(f"gs://{vertex.cloud.bucket}/{source}", SCHEMA)

    dataset.delete()
    assert not sdk.ImageDataset.list()


@pytest.mark.parametrize(
    ("limit", "images", "words"), [("most_images", 5, "one image more"), ("most_labels", 12, "one label more")]
)
def test_a_dataset_has_limits(vertex, sdk, limit, images, words):
    source = pets.put(vertex.cloud)
    setattr(vertex.cloud.vertex.datasets, limit, 5 if limit == "most_images" else 1)
    made = sdk.ImageDataset.create(display_name="pets")
    operation = vertex.service("Dataset").import_data(
        name=made.resource_name,
        import_configs=[{"gcs_source": {"uris": [source]}, "import_schema_uri": SCHEMA}],
    )
    operation.result(timeout=60)
    failures = operation.metadata.generic_metadata.partial_failures
    assert failures and all(words in failure.message for failure in failures)
    assert vertex.service("Dataset").get_dataset(name=made.resource_name).data_item_count == images


class Pipelines:
    """Training pipelines of one dataset, started by the generated client."""

    def __init__(self, vertex, dataset):
        self.vertex, self.client = vertex, vertex.service("Pipeline")
        self.dataset = dataset.name

    def start(self, inputs=None, **changes):
        task = {"modelType": "MOBILE_TF_VERSATILE_1", "budgetMilliNodeHours": 1000} | (inputs or {})
        pipeline = {
            "display_name": "pets",
            "training_task_definition": DEFINITION,
            "training_task_inputs": json_format.ParseDict(task, struct_pb2.Value()),
            "input_data_config": {"dataset_id": self.dataset},
            "model_to_upload": {"display_name": "pets"},
        } | changes
        return self.client.create_training_pipeline(parent=self.vertex.parent, training_pipeline=pipeline)

    def get(self, pipeline):
        return self.client.get_training_pipeline(name=pipeline.name)


@pytest.fixture
def pipelines(vertex, dataset):
    return Pipelines(vertex, dataset)


@pytest.mark.parametrize(
    ("words", "inputs", "changes"),
    [
        ("must be from 1000 to 100000, not 999", {"budgetMilliNodeHours": 999}, {}),
        ("must be from 8000 to 800000, not 1000", {"modelType": "CLOUD"}, {}),
        ("training_task_inputs.*modelType", {"modelType": "MOBILE_TF_TINY_1"}, {}),
        ("training_task_inputs.*modeltype", {"modeltype": "CLOUD"}, {}),
        ("training_task_inputs.*disableEarlyStopping", {"disableEarlyStopping": "no"}, {}),
        ("display_name", {}, {"model_to_upload": {}}),
        ("dataset_id", {}, {"input_data_config": {}}),
        ("only for tabular", {}, {"input_data_config": {"dataset_id": "", "predefined_split": {"key": "split"}}}),
        ("add up to", {}, {"input_data_config": {"dataset_id": "", "fraction_split": {"training_fraction": 1.5}}}),
        ("all three", {}, {"input_data_config": {"dataset_id": "", "filter_split": {"training_filter": "labels.a=b"}}}),
    ],
)
def test_a_training_with_invalid_inputs_is_refused(pipelines, words, inputs, changes):
    config = changes.get("input_data_config")
    if config and "dataset_id" in config:
        config["dataset_id"] = pipelines.dataset
    with pytest.raises(exceptions.InvalidArgument, match=words):
        pipelines.start(inputs, **changes)
    assert not list(pipelines.client.list_training_pipelines(parent=pipelines.vertex.parent))


def test_a_training_is_pending_until_it_starts_and_can_be_cancelled(vertex, pipelines):
    vertex.cloud.vertex.training.hold()
    pipeline = pipelines.start()
    assert pipelines.get(pipeline).state.name == "PIPELINE_STATE_PENDING"
    with pytest.raises(exceptions.FailedPrecondition, match="cancel it first"):
        pipelines.client.delete_training_pipeline(name=pipeline.name)
    pipelines.client.cancel_training_pipeline(name=pipeline.name)
    vertex.cloud.vertex.training.release()
    assert pipelines.get(pipeline).state.name == "PIPELINE_STATE_CANCELLED"
    pipelines.client.delete_training_pipeline(name=pipeline.name).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        pipelines.get(pipeline)


@pytest.mark.parametrize(
    ("message", "filters"),
    [
        (
            "at least 10 images",
            {"training_filter": f"labels.{ML_USE}=training", "validation_filter": "-", "test_filter": "-"},
        ),
        ("at least 2 are needed", {"training_filter": "-", "validation_filter": "labels.span=2", "test_filter": "-"}),
        (
            "have no images in the training set",
            {"training_filter": "-", "validation_filter": "labels.span=1", "test_filter": "-"},
        ),
        (
            "test set has no images",
            {"training_filter": "labels.span=1", "validation_filter": "-", "test_filter": "labels.span=2"},
        ),
    ],
)
def test_a_training_on_too_few_images_fails(vertex, pipelines, message, filters):
    pipeline = pipelines.start(input_data_config={"dataset_id": pipelines.dataset, "filter_split": filters})
    vertex.cloud.vertex.training.wait(pipeline.name)
    ended = pipelines.get(pipeline)
    assert ended.state.name == "PIPELINE_STATE_FAILED" and message in ended.error.message


def test_a_project_without_access_to_automl_is_refused(vertex, pipelines):
    vertex.cloud.vertex.training.unavailable = True
    with pytest.raises(exceptions.FailedPrecondition, match="not available to this project"):
        pipelines.start()
