"""Publishes the model for devices of a release to the channel beta."""

import json
import os

import tensorflow as tf
from absl import logging

from pipeline.components import tfx_api as tfx
from pipeline.components.release_pusher import OUTCOME
from pipeline.config import Config
from pipeline.outcomes import TrainingOutcome
from pipeline.releases.factory import releases_of
from pipeline.serving import device_channel

InputArtifact = tfx.InputArtifact
artifacts = tfx.artifacts


@tfx.component
def DevicePublisher(
    pushed_model: InputArtifact[artifacts.PushedModel],
    settings: tfx.Parameter[str],
    published: tfx.OutputArtifact[artifacts.String],
):
    """Publishes the release that ReleasePusher made, for CANARY_TRAFFIC percent of the devices on beta.

    `settings` are a Config as JSON; `published` holds a DevicesOutcome as JSON, or null where nothing was released. A
    release that was promoted or rolled back already is left as it is.
    """
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME)) as file:
        tag = TrainingOutcome.from_json(json.load(file)).release
    outcome = None
    if tag:
        config = Config.from_json(settings)
        outcome = device_channel.publish(config, releases_of(config).get(tag), logging.info).to_json()
    published.write(json.dumps(outcome))
