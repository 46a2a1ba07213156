"""Publishes the device model of a release to Firebase ML."""

import json
import os

import tensorflow as tf
from absl import logging

from pipeline.components import tfx_api as tfx
from pipeline.components.release_pusher import OUTCOME
from pipeline.config import Config
from pipeline.outcomes import TrainingOutcome
from pipeline.releases.factory import releases_of
from pipeline.serving import firebase

InputArtifact = tfx.InputArtifact
artifacts = tfx.artifacts


@tfx.component
def FirebasePublisher(
    pushed_model: InputArtifact[artifacts.PushedModel],
    settings: tfx.Parameter[str],
    published: tfx.OutputArtifact[artifacts.String],
):
    """Makes the device model of the release that ReleasePusher made the one of FIREBASE_MODEL, for all apps.

    `settings` are a Config as JSON; `published` holds the model's ID in Firebase ML as JSON, or null where nothing was
    released.
    """
    with tf.io.gfile.GFile(os.path.join(pushed_model.uri, OUTCOME)) as file:
        tag = TrainingOutcome.from_json(json.load(file)).release
    model = None
    if tag:
        config = Config.from_json(settings)
        model = firebase.publish(config, releases_of(config).get(tag), logging.info)
    published.write(json.dumps(model))
