"""Starts the training pipeline for a newly prepared span."""

import concurrent.futures
import json

from pipeline.components import tfx_api as tfx
from pipeline.config import Config
from pipeline.orchestrators import local, vertex
from pipeline.outcomes import PreparedSpan, RetrainingOutcome, RetrainingSubmitted
from pipeline.packaging.modules import Modules

String = tfx.artifacts.String


@tfx.component
def PipelineTrigger(
    prepared: tfx.InputArtifact[String],
    selection: tfx.Parameter[str],
    settings: tfx.Parameter[str],
    modules: tfx.Parameter[str],
    commit: tfx.Parameter[str],
    outcome: tfx.OutputArtifact[String],
):
    """Trains on `selection` unless the newest span was trained on already.

    With `modules` (Modules as JSON, which lie in a wheel), the training is submitted to Vertex AI and not waited for;
    `outcome` holds a RetrainingSubmitted as JSON. Without, it runs here; `outcome` holds a RetrainingOutcome. A
    training belongs to its newest span, so a trigger that is repeated or that resumes after a failure starts one run.
    """
    config = Config.from_json(settings)
    span = PreparedSpan.from_json(json.loads(prepared.read()))
    if modules:
        ended = RetrainingSubmitted(span, vertex.train_once(config, selection, Modules.from_json(modules), commit))
    else:
        # in another thread, because TFX keeps the state of a running pipeline by thread
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            ended = RetrainingOutcome(span, thread.submit(local.train_once, config, selection).result())
    outcome.write(json.dumps(ended.to_json()))
