"""Decides whether a cloud model and a device model are good enough together, by what they make of the same images."""

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from pipeline.batch import inference
from pipeline.batch.on_device import DeviceClassifier, classification
from pipeline.batch.pair import device_outcome
from pipeline.batch.predictor import Classification
from pipeline.components import local_copies
from pipeline.components import tfx_api as tfx
from pipeline.components.device_converter import COMPARED
from pipeline.components.span_example_gen import examples_of
from pipeline.data import tfrecord
from pipeline.device.examination import examine
from pipeline.device.released import TFLITE
from pipeline.quality import evaluator_config, pair_gate
from pipeline.quality.pair_gate import Agreement, Difference, PairRequirements
from pipeline.quality.release_gate import Requirements

artifacts = tfx.artifacts
InputArtifact = tfx.InputArtifact

TOGETHER = 64  # images that are predicted in one batch
EXAMINED = 8  # images on which a fresh process has to give the same


@tfx.component
def PairGate(
    examples: InputArtifact[artifacts.Examples],
    cloud_model: InputArtifact[artifacts.Model],
    trained_model: InputArtifact[artifacts.Model],
    device_model: InputArtifact[artifacts.Model],
    evaluation: InputArtifact[artifacts.ModelEvaluation],
    blessing: InputArtifact[artifacts.ModelBlessing],
    requirements: tfx.Parameter[str],
    current: tfx.Parameter[str],
    pair: tfx.OutputArtifact[artifacts.String],
):
    """Writes what became of a device model and of the pair that it makes with the cloud model.

    `trained_model` is the device model before its conversion, `evaluation` and `blessing` are DeviceEvaluator's.
    `requirements` is a JSON object: `device`, what the device model needs on its own, and `pair`, what both need.
    `current` is the tag of the release whose device model DeviceEvaluator compared with, or empty. `pair` holds a JSON
    object: `device`, a DeviceOutcome, and `agreement`, an Agreement.
    """
    needed = json.loads(requirements)
    together = PairRequirements(**needed["pair"])
    with (
        local_copies.to_read(path_utils.serving_model_path(cloud_model.uri)) as cloud,
        local_copies.to_read(path_utils.serving_model_path(trained_model.uri)) as trained,
        local_copies.to_read(path_utils.serving_model_path(device_model.uri)) as device,
    ):
        classifier = DeviceClassifier(device)
        agreement, images = compare(examples_of(examples.uri, "eval"), cloud, trained, classifier, together.loss)
        file = examine(os.path.join(device, TFLITE), images)
        shipped = classifier.description
    with tf.io.gfile.GFile(os.path.join(device_model.uri, COMPARED)) as compared:
        variants = json.load(compared)["variants"]
    outcome = device_outcome(
        evaluator_config.tallies(evaluation.uri, bool(current)),
        agreement,
        file,
        shipped,
        Requirements(**needed["device"]),
        together,
        current,
    )
    blessed = outcome.blessed and bool(blessing.get_int_custom_property("blessed"))
    outcome = dataclasses.replace(outcome, blessed=blessed, variants=variants)
    pair.write(json.dumps({"device": outcome.to_json(), "agreement": agreement.to_json()}))


def compare(
    examples: Iterator[tfrecord.Example], cloud: str, trained: str, device: DeviceClassifier, loss: float
) -> tuple[Agreement, np.ndarray]:
    """Counts what the models make of the examples; leaves out images that one of them cannot decode.

    `cloud` and `trained` are folders of SavedModels; `loss` is what a device that escalates may lose. Also returns the
    first images, float32 [n, H, W, C], to examine the device model's file with.
    """
    network, labels = inference.load(cloud), device.description.labels
    before_conversion = tf.saved_model.load(trained).signatures["serving_default"]
    agreement, first = Agreement(), []
    confidences, cloud_right, device_right = [], [], []
    for batch in iter(lambda: list(itertools.islice(examples, TOGETHER)), []):
        by_cloud = inference.classify(network, [example.image for example in batch])
        for example, of_cloud in zip(batch, by_cloud, strict=True):
            try:
                pixels = device.pixels(example.image)
            except OSError:
                continue
            if of_cloud is None:
                continue
            of_device = classification(device.model.predict([pixels])[0], labels)
            before = before_conversion(image=tf.constant(pixels[np.newaxis]))["probabilities"][0].numpy()
            agreement.add(_difference(example, of_cloud, of_device), classification(before, labels).label)
            confidences.append(of_device.confidence)
            cloud_right.append(of_cloud.label == example.label)
            device_right.append(of_device.label == example.label)
            if len(first) < EXAMINED:
                first.append(pixels)
    agreement.escalation = pair_gate.escalation(confidences, device_right, cloud_right, loss)
    return agreement, np.stack(first)


def _difference(example: tfrecord.Example, cloud: Classification, device: Classification) -> Difference:
    return Difference(example.source, example.label, cloud.label, device.label, cloud.confidence, device.confidence)
