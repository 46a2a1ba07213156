"""The Evaluator of device models: TFMA's metrics and slices, on predictions that LiteRT makes of the shipped file.

TFMA's own extractor for TensorFlow Lite runs another interpreter, without the decoding and resizing that an app does.
"""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2  # TFX 1.21 has these messages nowhere else

from pipeline.batch import on_device
from pipeline.batch.on_device import DeviceClassifier
from pipeline.batch.predictor import Classification
from pipeline.components import current_predictions, local_copies
from pipeline.components import tfx_api as tfx
from pipeline.device import description, input, litert


class DeviceEvaluator(tfx.Evaluator):
    """TFX's Evaluator with the extractor of this file, for models with `tflite` and `device.json`.

    `code` is `code_digest()`: nothing reads it, but TFX's cache depends on it. The name of this module, which is all
    that TFX otherwise sees of the extractor, stays the same when its code changes.
    """

    def __init__(self, code: tfx.Text, **given: Any):
        super().__init__(module_path=__name__, **given)
        tfx.set_properties(self, code=code)


def code_digest() -> str:
    """Returns the sha256 of the code that makes a device model's predictions."""
    total = hashlib.sha256()
    for module in (inspect.getmodule(code_digest), current_predictions, on_device, description, input, litert):
        total.update(inspect.getsource(module).encode())
    return total.hexdigest()


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[tfma.extractors.Extractor]:
    """Returns TFMA's extractors with one of predictions by LiteRT; called by TFX's Evaluator."""
    several = isinstance(eval_shared_model, list)  # a single model is itself a tuple
    candidate = eval_shared_model
    if several:
        name = current_predictions.candidate_of(eval_config)
        (candidate,) = (model for model in eval_shared_model if model.model_name == name)
    transform = beam.ParDo(_Predict(candidate.model_path))
    predict = tfma.extractors.Extractor(stage_name="ExtractPredictions", ptransform=transform)
    if several:
        predict = current_predictions.with_current(transform, eval_shared_model, eval_config)
    return tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
        custom_predict_extractor=predict,
    )


class _Predict(beam.DoFn):
    """Adds the candidate's predictions to a batch of extracts."""

    def __init__(self, folder: str):
        self._folder = folder

    def setup(self) -> None:
        with local_copies.to_read(self._folder) as folder:
            self._model = DeviceClassifier(folder)

    def process(self, extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
        images = np.ravel(extracts[constants.FEATURES_KEY]["image"]).tolist()
        yield extracts | {constants.PREDICTIONS_KEY: _outputs(self._model, images)}


def _outputs(model: DeviceClassifier, images: list[bytes]) -> dict[str, np.ndarray]:
    """Returns what the signature serving_default of the other model gives of images [batch].

    That is label, text [batch]; confidence, float32 [batch]; all_classes, text [batch, labels].
    """
    found: list[Classification | None] = list(model.classify(images))
    if broken := [hashlib.sha256(image).hexdigest() for image, of in zip(images, found, strict=True) if of is None]:
        raise ValueError(f"not a JPEG or PNG that can be decoded: sha256 {', '.join(broken)}")
    labels = np.array([label.encode() for label in model.description.labels], dtype=object)
    return {
        "label": np.array([of.label.encode() for of in found], dtype=object),
        "confidence": np.array([of.confidence for of in found], dtype=np.float32),
        "all_classes": np.tile(labels, (len(images), 1)),
    }
