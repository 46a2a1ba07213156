"""Writes what was collected into a new span."""

import dataclasses
import json

from pipeline.components import tfx_api as tfx
from pipeline.data import spans
from pipeline.storage.factory import open_storage


@tfx.component
def SpanPreparator(
    workspace: tfx.Parameter[str],
    prepared: tfx.OutputArtifact[tfx.artifacts.String],
):
    """Publishes a span of all collected images; `prepared` says as JSON which one, or null if there was none to make.

    Run again after a failure it makes no second span of the same images.
    """
    prepared.write(json.dumps(dataclasses.asdict(spans.prepare(open_storage(workspace)))))
