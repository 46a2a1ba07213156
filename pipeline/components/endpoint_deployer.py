"""Deploys a released and uploaded model with a share of the endpoint's traffic."""

import json

from absl import logging

from pipeline.components import tfx_api as tfx
from pipeline.config import Config
from pipeline.outcomes import UploadOutcome
from pipeline.releases.factory import releases_of
from pipeline.serving import endpoint

String = tfx.artifacts.String


@tfx.component
def EndpointDeployer(
    uploaded: tfx.InputArtifact[String],
    settings: tfx.Parameter[str],
    deployed: tfx.OutputArtifact[String],
):
    """Deploys the release that ModelUploader names with CANARY_TRAFFIC percent; does nothing when it names none.

    `settings` are a Config as JSON; `deployed` holds a ServingOutcome as JSON, or null. A release
    that was promoted or rolled back already is left as it is.
    """
    tag = UploadOutcome.from_json(json.loads(uploaded.read())).release
    outcome = None
    if tag:
        config = Config.from_json(settings)
        outcome = endpoint.deploy(config, releases_of(config).get(tag), logging.info).to_json()
    deployed.write(json.dumps(outcome))
