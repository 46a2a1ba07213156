"""Training pipelines of PipelineService: AutoML image classification.

https://github.com/googleapis/googleapis/blob/master/google/cloud/aiplatform/v1/schema/trainingjob/definition/automl_image_classification.proto
"""

import collections
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format, struct_pb2
from google.rpc import status_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.automl import CLOUD, AutoML, described
from tests.emulators.vertex.datasets import Datasets
from tests.emulators.vertex.held import HeldJobs
from tests.emulators.vertex.import_file import USES, Item
from tests.emulators.vertex.models import Models
from tests.emulators.vertex.names import Names, invalid
from tests.emulators.vertex.operations import CODES, Operations
from tests.emulators.vertex.workers import Stop

SERVICE = "google.cloud.aiplatform.v1.PipelineService"
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_image_classification_1.0.0.yaml"
ANNOTATIONS = "gs://google-cloud-aiplatform/schema/dataset/annotation/image_classification_1.0.0.yaml"
# Least, most and default budget in milli node hours, as documented at AutoMlImageClassificationInputs.
CLOUD_BUDGET = 8_000, 800_000, 192_000
EDGE_BUDGET = 1_000, 100_000, 24_000
# https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data#best_practices
LEAST_IMAGES = 10  # of a label
SPLITS = "fraction_split", "filter_split"
FRACTIONS = 0.8, 0.1, 0.1  # by default: google/cloud/aiplatform/v1/training_pipeline.proto
NOTHING = "-"  # a filter that matches nothing
State = types.PipelineState
ENDED = (State.PIPELINE_STATE_SUCCEEDED, State.PIPELINE_STATE_FAILED, State.PIPELINE_STATE_CANCELLED)


class Task(NamedTuple):
    """A training task's inputs, with defaults."""

    model_type: str
    budget: int  # milli node hours
    base_model: str


class TrainingPipelines(HeldJobs):
    """Pipelines by name. Those created after `hold` stay pending until `release`.

    While `unavailable`, the project has no access to AutoML.
    """

    def __init__(self, given: Names, operations: Operations, datasets: Datasets, models: Models, automl: AutoML):
        self._names, self._operations = given, operations
        self._datasets, self._models, self._automl = datasets, models, automl
        super().__init__(operations.lock)
        self._ids = itertools.count(8000)
        self._stops: dict[str, Stop] = {}
        self.reset()

    def reset(self) -> None:
        for stop in self._stops.values():
            stop.set()
        self._forget_threads()
        self._stops = {}
        self.pipelines: dict[str, types.TrainingPipeline] = {}
        self.unavailable = False

    def close(self) -> None:
        self.reset()

    def rpcs(self) -> dict[str, Rpc]:
        pipeline, operation = types.TrainingPipeline, operations_pb2.Operation
        lists = Rpc(types.ListTrainingPipelinesRequest, types.ListTrainingPipelinesResponse, self.list)
        return {
            f"/{SERVICE}/CreateTrainingPipeline": Rpc(types.CreateTrainingPipelineRequest, pipeline, self.create),
            f"/{SERVICE}/GetTrainingPipeline": Rpc(types.GetTrainingPipelineRequest, pipeline, self.get),
            f"/{SERVICE}/ListTrainingPipelines": lists,
            f"/{SERVICE}/CancelTrainingPipeline": Rpc(
                types.CancelTrainingPipelineRequest, empty_pb2.Empty, self.cancel
            ),
            f"/{SERVICE}/DeleteTrainingPipeline": Rpc(types.DeleteTrainingPipelineRequest, operation, self.delete),
        }

    # Methods

    def create(self, request: types.CreateTrainingPipelineRequest, caller: Caller) -> types.TrainingPipeline:
        self._names.demand(caller, "trainingPipelines.create")
        parent = self._names.parent(request.parent, caller)
        if self.unavailable:
            # Google documents no text of this refusal; the code is that of a project's missing prerequisites.
            text = "AutoML image classification is not available to this project."
            raise Refused(StatusCode.FAILED_PRECONDITION, text)
        pipeline = types.TrainingPipeline(request.training_pipeline)
        task = self._check(pipeline, parent, caller)
        with self._lock:
            model = self._models.new_name(parent, pipeline.parent_model, pipeline.model_id, caller)
            pipeline.name = f"{parent}/trainingPipelines/{next(self._ids)}"
            pipeline.state = State.PIPELINE_STATE_PENDING
            pipeline.create_time = pipeline.update_time = names.now()
            self.pipelines[pipeline.name] = pipeline
            stop = self._stops[pipeline.name] = Stop()
            created = types.TrainingPipeline(pipeline)
            self._start(pipeline.name, self._run, pipeline, task, model, stop)
        return created

    def _check(self, pipeline: types.TrainingPipeline, parent: str, caller: Caller) -> Task:
        names.check_display_name(pipeline.display_name)
        names.check_labels(pipeline.labels)
        names.check_key(pipeline, parent)
        if pipeline.training_task_definition != DEFINITION:
            text = f"training_task_definition {pipeline.training_task_definition!r}: the local server has {DEFINITION}."
            raise Refused(StatusCode.UNIMPLEMENTED, text)
        task = _task(pipeline)
        self._check_data(pipeline.input_data_config, parent, caller)
        self._check_model(pipeline, parent, caller)
        if task.base_model:
            base = self._models.find(f"{parent}/models/{task.base_model}", caller)
            is_edge = task.model_type != CLOUD
            if not self._automl.is_trained(base) or bool(base.supported_export_formats) != is_edge:
                raise invalid(f"baseModelId {task.base_model} is not an AutoML model of the same modelType.")
        return task

    def _check_data(self, config: types.InputDataConfig, parent: str, caller: Caller) -> None:
        if not config.dataset_id:
            raise invalid("List of found errors: 1. Field: input_data_config.dataset_id; Message: Required.")
        self._datasets.find(f"{parent}/datasets/{config.dataset_id}", caller)
        split = types.InputDataConfig.pb(config).WhichOneof("split")
        if split and split not in SPLITS:
            raise invalid(f"input_data_config.{split} is supported only for tabular Datasets.")
        if config.annotation_schema_uri not in ("", ANNOTATIONS):
            raise invalid(f"annotation_schema_uri {config.annotation_schema_uri!r} does not match the dataset.")
        if split == "fraction_split" and not 0 <= sum(_fractions(config)) <= 1 + 1e-6:
            raise invalid("The fractions of fraction_split must add up to at most 1.")
        if split == "filter_split":
            for text in _filters(config):
                _matches(text, {})

    def _check_model(self, pipeline: types.TrainingPipeline, parent: str, caller: Caller) -> None:
        model = pipeline.model_to_upload
        names.check_display_name(model.display_name)
        names.check_labels(model.labels)
        names.check_key(model, parent)
        if names.is_set(model, "container_spec") or model.artifact_uri:
            raise invalid("model_to_upload of AutoML must have neither container_spec nor artifact_uri.")

    def _find(self, name: str, caller: Caller) -> types.TrainingPipeline:
        return self._names.find(self.pipelines, name, "trainingPipelines", caller)

    def get(self, request: types.GetTrainingPipelineRequest, caller: Caller) -> types.TrainingPipeline:
        with self._lock:
            return types.TrainingPipeline(self._find(request.name, caller))

    def list(self, request: types.ListTrainingPipelinesRequest, caller: Caller) -> types.ListTrainingPipelinesResponse:
        self._names.demand(caller, "trainingPipelines.list")
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [
                types.TrainingPipeline(each) for name, each in self.pipelines.items() if name.startswith(f"{parent}/")
            ]
        return names.selected(found, request, "training_pipelines", types.ListTrainingPipelinesResponse)

    def cancel(self, request: types.CancelTrainingPipelineRequest, caller: Caller) -> empty_pb2.Empty:
        with self._lock:
            pipeline = self._find(request.name, caller)
            if pipeline.state == State.PIPELINE_STATE_PENDING:
                self._end(pipeline, State.PIPELINE_STATE_CANCELLED)
            elif pipeline.state == State.PIPELINE_STATE_RUNNING:
                pipeline.state = State.PIPELINE_STATE_CANCELLING
            self._stops[pipeline.name].set()
        return empty_pb2.Empty()

    def delete(self, request: types.DeleteTrainingPipelineRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            pipeline = self._find(request.name, caller)
            if pipeline.state not in ENDED:
                text = f"{pipeline.name} has not ended: cancel it first."
                raise Refused(StatusCode.FAILED_PRECONDITION, text)

            def work() -> empty_pb2.Empty:
                self.pipelines.pop(pipeline.name, None)
                return empty_pb2.Empty()

            return self._operations.start(pipeline.name, types.DeleteOperationMetadata(), work)

    # Execution

    def _run(self, pipeline: types.TrainingPipeline, task: Task, model: str, stop: Stop) -> None:
        with self._lock:
            if pipeline.state != State.PIPELINE_STATE_PENDING or stop.asked:
                return
            pipeline.state = State.PIPELINE_STATE_RUNNING
            pipeline.start_time = pipeline.update_time = names.now()
        error = None
        try:
            self._train(pipeline, task, model, stop)
        except Refused as refused:
            error = status_pb2.Status(code=CODES[refused.code], message=refused.message)
        except Exception as failed:  # a bug in the emulator, too, must fail the pipeline, not leave it running
            error = status_pb2.Status(code=CODES[StatusCode.INTERNAL], message=f"{type(failed).__name__}: {failed}")
        with self._lock:
            if stop.asked:
                self._end(pipeline, State.PIPELINE_STATE_CANCELLED)
            elif error:
                pipeline.error = error
                self._end(pipeline, State.PIPELINE_STATE_FAILED)
            else:
                self._end(pipeline, State.PIPELINE_STATE_SUCCEEDED)

    def _end(self, pipeline: types.TrainingPipeline, state: State) -> None:
        pipeline.state = state
        pipeline.end_time = pipeline.update_time = names.now()

    def _train(self, pipeline: types.TrainingPipeline, task: Task, name: str, stop: Stop) -> None:
        """Trains on the training set and uploads the model; the other sets are only checked."""
        parent = pipeline.name.rpartition("/trainingPipelines/")[0]
        with self._lock:
            dataset = f"{parent}/datasets/{pipeline.input_data_config.dataset_id}"
            items = [item for item in self._datasets.items.get(dataset, {}).values() if item.label]
        parts = _parts(pipeline.input_data_config, items)
        unused = {use for use, text in zip(USES, _filters(pipeline.input_data_config), strict=True) if text == NOTHING}
        _check_images(parts, unused)
        trained = self._automl.train(parts["training"], task.model_type, stop)
        with self._lock:
            if stop.asked:
                return
            model = described(types.Model(pipeline.model_to_upload), task.model_type)
            model.training_pipeline = pipeline.name
            self._models.add(name, model)
            self._automl.add(model, trained)
            pipeline.model_to_upload = types.Model(model)
            pipeline.training_task_metadata = json_format.ParseDict(
                {"costMilliNodeHours": str(task.budget), "successfulStopReason": "MODEL_CONVERGED"}, struct_pb2.Value()
            )


def _task(pipeline: types.TrainingPipeline) -> Task:
    """The task of a pipeline; raises Refused for inputs that the schema does not have or allow."""
    # The package of the schema's types imports all of the SDK, which takes seconds.
    from google.cloud.aiplatform.v1.schema.trainingjob.definition_v1.types import AutoMlImageClassificationInputs

    plain, inputs = types.TrainingPipeline.pb(pipeline).training_task_inputs, AutoMlImageClassificationInputs()
    try:
        json_format.ParseDict(json_format.MessageToDict(plain), AutoMlImageClassificationInputs.pb(inputs))
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise invalid(f"Invalid training_task_inputs: {error}") from None
    if inputs.multi_label:
        raise Refused(StatusCode.UNIMPLEMENTED, "multiLabel: the local server trains single-label models only.")
    model_type = inputs.model_type.name if inputs.model_type else CLOUD
    least, most, default = CLOUD_BUDGET if model_type == CLOUD else EDGE_BUDGET
    budget = inputs.budget_milli_node_hours or default
    if not least <= budget <= most:
        raise invalid(f"budgetMilliNodeHours of {model_type} must be from {least} to {most}, not {budget}.")
    return Task(model_type, budget, inputs.base_model_id)


def _fractions(config: types.InputDataConfig) -> tuple[float, float, float]:
    split = config.fraction_split
    return split.training_fraction, split.validation_fraction, split.test_fraction


def _filters(config: types.InputDataConfig) -> tuple[str, str, str]:
    split = config.filter_split
    return split.training_filter, split.validation_filter, split.test_filter


def _matches(text: str, labels: dict[str, str]) -> bool:
    """True when a DataItem with these labels matches a filter of terms labels.KEY=VALUE, joined by AND."""
    if not text:
        raise invalid("filter_split: all three filters are required.")
    if text == NOTHING:
        return False
    for term in text.split(" AND "):
        key, equals, value = term.strip().removeprefix("labels.").partition("=")
        if not equals or not term.strip().startswith("labels."):
            raise invalid(f"Invalid filter: {text!r}")
        if labels.get(key) != value.strip('"'):
            return False
    return True


def _parts(config: types.InputDataConfig, items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items of the training, validation and test set; items that no filter matches are left out."""
    parts: dict[str, list[Item]] = {use: [] for use in USES}
    if types.InputDataConfig.pb(config).WhichOneof("split") == "filter_split":
        for item in items:
            labels = dict(item.resource_labels)
            use = next((use for use, text in zip(USES, _filters(config), strict=True) if _matches(text, labels)), None)
            if use:
                parts[use].append(item)
        return parts
    training, validation, _ = _fractions(config) if any(_fractions(config)) else FRACTIONS
    for number, item in enumerate(items):
        place = number * 0.6180339887 % 1  # spreads each part over the items
        parts["training" if place < training else "validation" if place < training + validation else "test"].append(
            item
        )
    return parts


def _check_images(parts: dict[str, list[Item]], unused: set[str]) -> None:
    """Raises Refused when there are too few images to train on; the `unused` sets may be empty."""
    counts = collections.Counter(item.label for items in parts.values() for item in items)
    if len(counts) < 2:
        raise invalid(f"The dataset has the labels {sorted(counts)}, but at least 2 are needed to train a model.")
    if rare := {label: count for label, count in counts.items() if count < LEAST_IMAGES}:
        raise invalid(f"Each label needs at least {LEAST_IMAGES} images: {rare}.")
    if untrained := set(counts) - {item.label for item in parts["training"]}:
        raise invalid(f"The labels {sorted(untrained)} have no images in the training set.")
    if empty := [use for use, items in parts.items() if not items and use not in unused]:
        raise invalid(f"The {' and '.join(empty)} set has no images.")
