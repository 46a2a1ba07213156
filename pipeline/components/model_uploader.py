"""Uploads a released model to Vertex AI's Model Registry."""

import json
import os

import tensorflow as tf
from absl import logging

from pipeline.components import tfx_api as tfx
from pipeline.components.release_pusher import OUTCOME
from pipeline.config import Config
from pipeline.outcomes import TrainingOutcome, UploadOutcome
from pipeline.releases.factory import releases_of
from pipeline.serving import model_registry

InputArtifact = tfx.InputArtifact
artifacts = tfx.artifacts


@tfx.component
def ModelUploader(
    pushed_model: InputArtifact[artifacts.PushedModel],
    settings: tfx.Parameter[str],
    uploaded: tfx.OutputArtifact[artifacts.String],
):
    """Uploads the release that ReleasePusher made as a new version of the model; does nothing when it made none.

    `settings` are a Config as JSON; `uploaded` holds an UploadOutcome as JSON. A release is uploaded once,
    however often this runs.
    """
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME)) as file:
        tag = TrainingOutcome.from_json(json.load(file)).release
    version = None
    if tag:
        config = Config.from_json(settings)
        release = releases_of(config).get(tag)
        version = model_registry.Registry(config, logging.info).upload(release).name
    uploaded.write(json.dumps(UploadOutcome(tag, version).to_json()))
