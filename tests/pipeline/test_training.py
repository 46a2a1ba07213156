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


def test_on_this_machine_the_same_pipeline_takes_texts_and_no_node_of_vertex_ai(planned, tmp_path):
    config, made = planned
    values = training.values(config, made, str(tmp_path))
    pipeline = training.create_pipeline(config, made.shape, values, str(tmp_path))

    nodes = {node.id: node for node in pipeline.components}
    assert made.shape == Shape() and "CurrentModel" not in nodes
    assert nodes["Trainer"].executor_spec.class_path.startswith("tfx.")
    assert nodes["Trainer"].exec_properties["run_fn"] == "modules.classification.model.run_fn"
    assert json.loads(nodes["Trainer"].exec_properties["custom_config"])["seed"] == config.seed
    assert nodes["SpanExampleGen"].exec_properties["workspace"] == config.workspace


def test_what_decides_where_a_training_runs_is_not_told_to_the_one_on_this_machine(planned, tmp_path):
    """So a setting of Google Cloud makes no local training another one."""
    config, made = planned
    told = json.loads(training.values(config, made, str(tmp_path))["training_config"])

    assert told == {
        "modules": made.modules.digest,
        "seed": 0,
        "checkpoints": str(tmp_path / "checkpoints" / made.identity),
        "custom_job": {},
    }
