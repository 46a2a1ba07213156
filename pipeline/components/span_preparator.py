"""Makes a span of the collected images."""

import json

from pipeline.components import tfx_api as tfx
from pipeline.data import spans
from pipeline.storage.factory import open_storage


@tfx.component
def SpanPreparator(
    workspace: tfx.Parameter[str],
    prepared: tfx.OutputArtifact[tfx.artifacts.String],
):
    """Publishes a span of all collected images; `prepared` holds a PreparedSpan as JSON.

    A second run after a failure makes no second span of the same images.
    """
    prepared.write(json.dumps(spans.prepare(open_storage(workspace)).to_json()))
