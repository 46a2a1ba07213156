"""The retraining pipeline: what was collected becomes a span, and a training on the chosen spans starts."""

from pipeline import tfx_api as tfx
from pipeline.components.pipeline_trigger import PipelineTrigger
from pipeline.components.span_preparator import SpanPreparator
from pipeline.config import Config


def create_pipeline(config: Config, selection: str, pipeline_root: str) -> tfx.Pipeline:
    """Prepares a span from what is collected, then trains on `selection` ("1,2 | all | latest:N").

    Nothing is cached: what is collected is another thing each time.
    """
    preparator = SpanPreparator(workspace=config.workspace)
    trigger = PipelineTrigger(prepared=preparator.outputs["prepared"], selection=selection, settings=config.to_json())
    return tfx.Pipeline("retraining", pipeline_root, components=[preparator, trigger], enable_cache=False)
