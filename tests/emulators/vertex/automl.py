"""Models trained in AutoML's place: small networks, whose predictions and files have AutoML's formats."""

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.cloud import aiplatform_v1 as types
from google.protobuf import json_format
from grpc import StatusCode
from PIL import Image

from tests.emulators.services import Refused
from tests.emulators.vertex.import_file import Item
from tests.emulators.vertex.names import invalid
from tests.emulators.vertex.processes import PROGRAMS
from tests.emulators.vertex.programs.automl import INPUT, SIDE
from tests.emulators.vertex.workers import Stop, Workers

# https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data
FORMATS = ("JPEG", "GIF", "PNG", "WEBP", "BMP", "TIFF", "ICO")
MIME_TYPES = ("jpeg", "gif", "png", "webp", "bmp", "tiff", "vnd.microsoft.icon")
MOST_PREDICTIONS = 10  # by default: schema/predict/params/image_classification_1.0.0.yaml
SCHEMAS = "gs://google-cloud-aiplatform/schema"
CLOUD = "CLOUD"
# https://cloud.google.com/vertex-ai/docs/export/export-edge-model
EDGE_FORMATS = ("tflite", "edgetpu-tflite", "tf-saved-model", "tf-js", "core-ml")


class Trained(NamedTuple):
    """A trained model; `layers` are weights and biases, `tflite` is its file if it is an edge model."""

    labels: tuple[str, ...]
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    tflite: bytes | None

    def confidences(self, image: bytes) -> np.ndarray:
        """Float [labels]; raises Refused for bytes that are not an image."""
        values = _averaged(image).reshape(-1)
        for number, (weights, biases) in enumerate(self.layers):
            values = values @ weights + biases
            if number + 1 < len(self.layers):
                values = np.maximum(values, 0)
        exponents = np.exp(values - values.max())
        return exponents / exponents.sum()

    def spec_id(self, label: str) -> str:
        """ID of the label's AnnotationSpec."""
        return str(int(hashlib.sha256(json.dumps([label, self.labels]).encode()).hexdigest()[:15], 16))

    def exported(self) -> dict[str, bytes]:
        """Files of the export as TFLite, as AutoML Vision Edge has written them; raises Refused.

        https://cloud.google.com/vision/automl/docs/export-edge
        """
        if self.tflite is None:
            raise Refused(StatusCode.FAILED_PRECONDITION, "The model is not exportable.")
        described = {
            "inputShape": [1, INPUT, INPUT, 3],
            "inputType": "QUANTIZED_UINT8",
            "outputType": "QUANTIZED_UINT8",
        }
        return {
            "model.tflite": self.tflite,
            "dict.txt": "".join(f"{label}\n" for label in self.labels).encode(),
            "tflite_metadata.json": json.dumps(described).encode(),
        }


class AutoML:
    """Trained models by MODEL@VERSION."""

    def __init__(self, workers: Workers):
        self._workers = workers
        self.reset()

    def reset(self) -> None:
        self._trained: dict[str, Trained] = {}

    def is_trained(self, model: types.Model) -> bool:
        """True when AutoML has trained the model."""
        return f"{model.name}@{model.version_id}" in self._trained

    def trained(self, model: types.Model) -> Trained:
        return self._trained[f"{model.name}@{model.version_id}"]

    def train(self, items: Sequence[Item], model_type: str, stop: Stop) -> Trained:
        """Trains on images and their labels; raises workers.Failed."""
        labels = tuple(sorted({item.label for item in items}))
        folder = self._workers.folder()
        np.savez(
            folder / "data.npz",
            images=np.stack([_averaged(item.image) for item in items]),
            labels=[labels.index(item.label) for item in items],
            classes=len(labels),
        )
        self._workers.run_program("automl", ["python", str(PROGRAMS / "automl.py"), str(folder), model_type], stop)
        with np.load(folder / "weights.npz") as saved:
            layers = tuple((saved[f"w{n}"], saved[f"b{n}"]) for n in range(len(saved.files) // 2))
        file = folder / "model.tflite"
        return Trained(labels, layers, file.read_bytes() if file.exists() else None)

    def add(self, model: types.Model, trained: Trained) -> None:
        """Keeps what was trained for a version."""
        self._trained[f"{model.name}@{model.version_id}"] = trained

    def predict(
        self, model: types.Model, instances: Sequence[Any], parameters: Any, read: Callable[[str], bytes]
    ) -> list[dict[str, Any]]:
        """{"prediction": ...} or {"error": text} for each instance, whose `content` is read by `read`.

        Raises Refused for invalid parameters.
        """
        limit, threshold = _parameters(parameters)
        trained = self.trained(model)
        return [_predicted(trained, instance, limit, threshold, read) for instance in instances]


def described(model: types.Model, model_type: str) -> types.Model:
    """Sets what the model supports: a cloud model predictions, an edge model nothing but exports.

    https://cloud.google.com/vertex-ai/docs/export/export-edge-model
    """
    model.metadata_schema_uri = f"{SCHEMAS}/model/metadata/automl_image_classification_1.0.0.yaml"
    model.model_source_info = types.ModelSourceInfo(source_type=types.ModelSourceInfo.ModelSourceType.AUTOML)
    model.predict_schemata = types.PredictSchemata(
        instance_schema_uri=f"{SCHEMAS}/predict/instance/image_classification_1.0.0.yaml",
        parameters_schema_uri=f"{SCHEMAS}/predict/params/image_classification_1.0.0.yaml",
        prediction_schema_uri=f"{SCHEMAS}/predict/prediction/classification_1.0.0.yaml",
    )
    if model_type == CLOUD:
        model.supported_deployment_resources_types = [types.Model.DeploymentResourcesType.AUTOMATIC_RESOURCES]
        model.supported_input_storage_formats, model.supported_output_storage_formats = ["jsonl", "file-list"], [
            "jsonl"
        ]
    else:
        artifact = types.Model.ExportFormat.ExportableContent.ARTIFACT
        model.supported_export_formats = [
            types.Model.ExportFormat(id=format_, exportable_contents=[artifact]) for format_ in EDGE_FORMATS
        ]
    return model


def _averaged(data: bytes) -> np.ndarray:
    """An image as float32 [SIDE, SIDE, 3] from 0 to 1: resized as for an edge model, then averaged as in one."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            resized = image.convert("RGB").resize((INPUT, INPUT), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError):
        raise invalid("The image content is not a valid image.") from None
    blocks = np.asarray(resized, np.float32).reshape(SIDE, INPUT // SIDE, SIDE, INPUT // SIDE, 3)
    return blocks.mean((1, 3)) / 255


def _parameters(given: Any) -> tuple[int, float]:
    """Number of predictions and lowest confidence: schema/predict/params/image_classification_1.0.0.yaml."""
    # The package of the schema's types imports all of the SDK, which takes seconds.
    from google.cloud.aiplatform.v1.schema.predict.params_v1.types import ImageClassificationPredictionParams

    parameters = ImageClassificationPredictionParams()
    try:
        json_format.ParseDict(given or {}, ImageClassificationPredictionParams.pb(parameters))
    except json_format.ParseError as error:
        raise invalid(f"Invalid parameters: {error}") from None
    if not 0 <= parameters.confidence_threshold <= 1 or parameters.max_predictions < 0:
        raise invalid("confidenceThreshold must be from 0 to 1, maxPredictions at least 1.")
    return parameters.max_predictions or MOST_PREDICTIONS, parameters.confidence_threshold


def _predicted(
    trained: Trained, instance: Any, limit: int, threshold: float, read: Callable[[str], bytes]
) -> dict[str, Any]:
    try:
        confidences = trained.confidences(_content(instance, read))
    except Refused as refused:
        return {"error": refused.message}
    best = [n for n in np.argsort(-confidences, kind="stable")[:limit] if confidences[n] >= threshold]
    prediction = {
        "ids": [trained.spec_id(trained.labels[n]) for n in best],
        "displayNames": [trained.labels[n] for n in best],
        "confidences": [float(confidences[n]) for n in best],
    }
    return {"prediction": prediction}


def _content(instance: Any, read: Callable[[str], bytes]) -> bytes:
    """The image of an instance: schema/predict/instance/image_classification_1.0.0.yaml."""
    if not isinstance(instance, Mapping) or set(instance) - {"content", "mimeType", "mime_type"}:
        raise invalid(f"An instance has only `content` and `mimeType`: {str(instance)[:200]}")
    content, kind = instance.get("content"), instance.get("mimeType", instance.get("mime_type", "image/jpeg"))
    if not isinstance(content, str) or not content:
        raise invalid("`content` of an instance is required.")
    if kind not in (f"image/{name}" for name in MIME_TYPES):
        raise invalid(f"`mimeType` {kind!r} is not supported.")
    return read(content)


def decoded(content: str) -> bytes:
    """Image bytes of an online request, which come in base64."""
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("`content` of an instance is not valid base64.") from None
