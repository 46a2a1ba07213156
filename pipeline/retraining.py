"""The retraining pipeline: what was collected becomes a span, and a training on the chosen spans starts."""

from collections.abc import Mapping

from pipeline.components import tfx_api as tfx
from pipeline.components.span_preparator import SpanPreparator
from pipeline.config import Config
from pipeline.orchestrators.pipeline_trigger import PipelineTrigger
from pipeline.packaging.modules import Modules
from pipeline.plan import Shape


def create_pipeline(config: Config, shape: Shape, run: Mapping[str, tfx.Text], pipeline_root: str) -> tfx.Pipeline:
    """Prepares a span from what is collected, then trains on the spans that `selection` names.

    `run` holds what `values` returns, or stands for it. `config` and `shape` decide nothing here: both nodes are always
    there. Nothing is cached, because what is collected differs each time.
    """
    del config, shape
    preparator = SpanPreparator(workspace=run["workspace"])
    trigger = PipelineTrigger(
        prepared=preparator.outputs["prepared"],
        selection=run["selection"],
        settings=run["settings"],
        modules=run["modules"],
        commit=run["commit"],
    )
    return tfx.Pipeline("retraining", pipeline_root, components=[preparator, trigger], enable_cache=False)


def values(config: Config, selection: str, modules: Modules | None, commit: str) -> dict[str, str]:
    """Returns what differs from run to run: `selection` is "1,2 | all | latest:N".

    Modules that lie in a wheel are named for a training on Vertex AI; without, it runs where the retraining runs.
    """
    return {
        "workspace": config.workspace,
        "selection": selection,
        "settings": config.to_json(),
        "modules": modules.to_json() if modules else "",
        "commit": commit,
    }
