"""The retraining pipeline: makes a span of the collected images, then starts a training on the chosen spans."""

from dataclasses import dataclass

from pipeline.components import tfx_api as tfx
from pipeline.components.span_preparator import SpanPreparator
from pipeline.config import Config
from pipeline.orchestrators.pipeline_trigger import PipelineTrigger
from pipeline.packaging.modules import Modules
from pipeline.plan import Shape


@dataclass(frozen=True)
class Parameters:
    """What differs from run to run: text, or the RuntimeParameter that stands for it in a compiled pipeline."""

    workspace: tfx.Text
    selection: tfx.Text  # spans to train on: "1,2 | all | latest:N"
    settings: tfx.Text  # a Config as JSON
    modules: tfx.Text  # Modules as JSON for a training on Vertex AI, "" for one where the retraining runs
    commit: tfx.Text


def create_pipeline(config: Config, shape: Shape, run: Parameters, pipeline_root: str) -> tfx.Pipeline:
    """Prepares a span from the collected images, then trains on the spans that `selection` names.

    `config` and `shape` decide nothing here: both nodes are always there. Nothing is cached, because the collected
    images differ each time.
    """
    del config, shape
    preparator = SpanPreparator(workspace=run.workspace, settings=run.settings, modules=run.modules)
    trigger = PipelineTrigger(
        prepared=preparator.outputs["prepared"],
        selection=run.selection,
        settings=run.settings,
        modules=run.modules,
        commit=run.commit,
    )
    return tfx.Pipeline("retraining", pipeline_root, components=[preparator, trigger], enable_cache=False)


def parameters(config: Config, selection: str, modules: Modules | None, commit: str) -> Parameters:
    """Returns the parameters of a run. With `modules`, which lie in a wheel, the training runs on Vertex AI."""
    return Parameters(
        workspace=config.workspace,
        selection=selection,
        settings=config.to_json(),
        modules=modules.to_json() if modules else "",
        commit=commit,
    )
