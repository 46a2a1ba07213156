"""What the current model predicts in an Evaluator: by a confined process, because a released model is a program.

The graph of the model was checked when it was fetched. Here it gets no credentials, no network and no files but its
own, as in `evaluate`; the candidate, which the user's own code has just made, runs in the Evaluator's process.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2  # TFX 1.21 has these messages nowhere else

from pipeline.batch.model_client import ModelClient
from pipeline.components import local_copies


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[tfma.extractors.Extractor]:
    """Returns TFMA's extractors for a candidate and a current model; called by TFX's Evaluator of cloud models."""
    (candidate,) = (model for model in eval_shared_model if model.model_name == candidate_of(eval_config))
    alone = config_pb2.EvalConfig()
    alone.CopyFrom(eval_config)
    del alone.model_specs[:]
    alone.model_specs.extend(spec for spec in eval_config.model_specs if not spec.is_baseline)
    predict = tfma.extractors.PredictionsExtractor(eval_config=alone, eval_shared_model=candidate)
    return tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
        custom_predict_extractor=with_current(predict.ptransform, eval_shared_model, eval_config),
    )


def candidate_of(eval_config: config_pb2.EvalConfig) -> str:
    """Returns the name of the model that is compared with the current one."""
    (name,) = (spec.name for spec in eval_config.model_specs if not spec.is_baseline)
    return name


def with_current(
    candidate: beam.PTransform, models: list[Any], eval_config: config_pb2.EvalConfig
) -> tfma.extractors.Extractor:
    """Returns an extractor of both models' predictions; `candidate` adds those of the candidate alone."""
    name = candidate_of(eval_config)
    (current,) = (model for model in models if model.model_name != name)
    both = _PredictBoth(candidate, _PredictCurrent(name, current.model_name, current.model_path))
    return tfma.extractors.Extractor(stage_name="ExtractPredictions", ptransform=both)


class _PredictBoth(beam.PTransform):
    def __init__(self, candidate: beam.PTransform, current: "_PredictCurrent"):
        super().__init__()
        self._candidate, self._current = candidate, current

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | "Candidate" >> self._candidate | "Current" >> beam.ParDo(self._current)


class _PredictCurrent(beam.DoFn):
    """Puts labels that the current model predicts beside the candidate's predictions in a batch of extracts."""

    def __init__(self, candidate: str, current: str, folder: str):
        self._candidate, self._current, self._folder = candidate, current, folder

    def setup(self) -> None:
        self._context = contextlib.ExitStack()
        place = self._context.enter_context(tempfile.TemporaryDirectory(prefix="spanloop-"))
        local_copies.copy(self._folder, os.path.join(place, "model"))
        log = logging.getLogger(__name__).warning  # where a system cannot confine it
        self._model = self._context.enter_context(ModelClient(place, self._current, log))

    def teardown(self) -> None:
        self._context.close()

    def process(self, extracts: dict[str, Any]) -> Iterator[dict[str, Any]]:
        images = np.ravel(extracts[constants.FEATURES_KEY]["image"]).tolist()
        found = list(self._model.classify(images))
        if broken := [hashlib.sha256(image).hexdigest() for image, of in zip(images, found, strict=True) if of is None]:
            raise ValueError(f"not a JPEG or PNG that can be decoded: sha256 {', '.join(broken)}")
        current = {"label": np.array([of.label.encode() for of in found], dtype=object)}
        by_name = {self._candidate: extracts[constants.PREDICTIONS_KEY], self._current: current}
        yield extracts | {constants.PREDICTIONS_KEY: by_name}
