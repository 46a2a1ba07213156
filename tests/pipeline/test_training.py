import json

import pytest

from pipeline import plan, training
from pipeline.config import Config
from pipeline.data import spans
from pipeline.plan import Shape
from pipeline.storage.factory import open_storage
from tests.conftest import photographs


@pytest.fixture
def planned(workspace):
    workspace.collect(photographs(range(30)))
    spans.prepare(open_storage(str(workspace.root)))
    return Config(workspace=str(workspace.root)), plan.training(Config(workspace=str(workspace.root)), "all")


def test_on_this_machine_the_pipeline_takes_text_and_has_no_node_of_vertex_ai(planned, tmp_path):
    config, made = planned
    run = training.parameters(config, made, str(tmp_path))
    pipeline = training.create_pipeline(config, made.shape, run, str(tmp_path))

    nodes = {node.id: node for node in pipeline.components}
    assert made.shape == Shape() and "CurrentModel" not in nodes
    assert nodes["Trainer"].executor_spec.class_path.startswith("tfx.")
    assert nodes["Trainer"].exec_properties["run_fn"] == "modules.classification.model.run_fn"
    assert json.loads(nodes["Trainer"].exec_properties["custom_config"])["seed"] == config.seed
    assert nodes["SpanExampleGen"].exec_properties["workspace"] == config.workspace


def test_a_training_on_this_machine_does_not_depend_on_where_others_run(planned, tmp_path):
    """A setting of Google Cloud would otherwise invalidate what local runs have cached."""
    config, made = planned
    training_config = json.loads(training.parameters(config, made, str(tmp_path)).training_config)

    assert training_config == {
        "modules": made.modules.digest,
        "seed": 0,
        "checkpoints": str(tmp_path / "checkpoints" / made.identity),
        "custom_job": {},
    }
