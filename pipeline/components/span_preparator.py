"""Makes a span of the collected images."""

import json

from pipeline.components import tfx_api as tfx
from pipeline.config import Config
from pipeline.data import groups, spans
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage


@tfx.component
def SpanPreparator(
    workspace: tfx.Parameter[str],
    prepared: tfx.OutputArtifact[tfx.artifacts.String],
    settings: tfx.Parameter[str] = "",
    modules: tfx.Parameter[str] = "",
):
    """Publishes a span of all collected images; `prepared` holds a PreparedSpan as JSON.

    Groups of images are those that the package of `settings` (a Config as JSON) names, or, on Vertex AI, the one of
    `modules` (Modules as JSON), which lies in a wheel. A second run after a failure makes no second span of the same
    images.
    """
    package = Config.from_json(settings).modules if settings else ""
    if modules:
        found = Modules.from_json(modules)
        package = found.package
        groups.add_wheel(found.wheel)
    group_of = groups.group_of(package) if package else groups.none
    made = spans.prepare(open_storage(workspace), group_of=group_of)
    prepared.write(json.dumps(made.to_json()))
