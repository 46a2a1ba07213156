"""Starts the training pipeline for a span that was just prepared."""

import concurrent.futures
import json

from pipeline import local_runner
from pipeline import tfx_api as tfx
from pipeline.config import Config

String = tfx.artifacts.String


@tfx.component
def PipelineTrigger(
    prepared: tfx.InputArtifact[String],
    selection: tfx.Parameter[str],
    settings: tfx.Parameter[str],
    outcome: tfx.OutputArtifact[String],
):
    """Trains on `selection` unless the newest span was trained on already; `outcome` holds both nodes' outcome as JSON.

    A training belongs to its newest span, so a trigger that is repeated or that resumes after a failure starts one run.
    """
    # in a thread of its own: TFX keeps what it knows of a running pipeline by thread
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        trained = thread.submit(local_runner.train_once, Config.from_json(settings), selection).result()
    outcome.write(json.dumps(json.loads(prepared.read()) | trained))
