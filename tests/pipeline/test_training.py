import dataclasses
import inspect
import json

import pytest

from pipeline import plan, training
from pipeline.components import device_evaluator
from pipeline.config import Config
from pipeline.data import spans
from pipeline.errors import MissingSettings
from pipeline.plan import Shape
from pipeline.storage.factory import open_storage
from tests.conftest import photographs


@pytest.fixture
def plan_of(workspace):
    """Function from settings to a Config with a span, and the plan of a training on it."""
    workspace.collect(photographs(range(30)))
    spans.prepare(open_storage(str(workspace.root)))

    def plan_of(**settings):
        config = Config(workspace=str(workspace.root), **settings)
        return config, plan.training(config, "all")

    return plan_of


@pytest.fixture
def planned(plan_of):
    return plan_of()


def nodes_of(config, made, root):
    run = training.parameters(config, made, str(root))
    return {node.id: node for node in training.create_pipeline(config, made.shape, run, str(root)).components}


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
        "checkpoints": str(tmp_path / "checkpoints" / made.weights),
        "custom_job": {},
    }


DEVICE_NODES = {"DeviceTrainer", "DeviceConverter", "DeviceEvaluator", "PairGate"}


def test_a_device_model_is_trained_by_nodes_of_its_own(plan_of, tmp_path):
    single, pair = nodes_of(*plan_of(), tmp_path), nodes_of(*plan_of(device_model=True), tmp_path)

    assert set(pair) - set(single) == DEVICE_NODES
    assert pair["DeviceTrainer"].exec_properties["run_fn"] == "modules.classification.device.run_fn"
    assert pair["DeviceTrainer"].executor_spec.class_path.startswith("tfx.")
    assert set(pair["ReleasePusher"].inputs) - set(single["ReleasePusher"].inputs) == {"device_model", "pair"}


def test_a_device_model_changes_nothing_for_the_nodes_before(plan_of, tmp_path):
    """So a run with DEVICE_MODEL uses what one without it has cached."""
    single, pair = nodes_of(*plan_of(), tmp_path), nodes_of(*plan_of(device_model=True), tmp_path)

    for name in ("SpanExampleGen", "StatisticsGen", "SchemaGen", "Transform", "Trainer", "Evaluator"):
        assert single[name].exec_properties == pair[name].exec_properties
        assert set(single[name].inputs) == set(pair[name].inputs)


def test_the_current_device_model_is_a_baseline_where_there_is_one(plan_of, tmp_path):
    config, made = plan_of(device_model=True)

    without = nodes_of(config, dataclasses.replace(made, current="model-1"), tmp_path)
    with_one = nodes_of(config, dataclasses.replace(made, current="model-1", current_device=True), tmp_path)

    assert set(with_one) - set(without) == {"CurrentDeviceModel"}
    assert "baseline_model" in with_one["DeviceEvaluator"].inputs
    assert "baseline_model" not in without["DeviceEvaluator"].inputs
    assert [nodes["PairGate"].exec_properties["current"] for nodes in (without, with_one)] == ["", "model-1"]


def test_a_pair_is_published_for_devices_where_a_channel_is_configured(plan_of, tmp_path):
    channel = {"device_channel": "gs://bucket/models", "device_signing_key": "key.pem"}

    nodes = nodes_of(*plan_of(device_model=True, **channel), tmp_path)

    assert list(nodes)[-1] == "DevicePublisher"
    assert json.loads(nodes["DevicePublisher"].exec_properties["settings"])["device_channel"] == "gs://bucket/models"
    assert "DevicePublisher" not in nodes_of(*plan_of(**channel), tmp_path)
    with pytest.raises(MissingSettings, match="DEVICE_SIGNING_KEY"):
        nodes_of(*plan_of(device_model=True, device_channel="gs://bucket/models"), tmp_path)


def test_a_pair_is_published_to_firebase_ml_where_it_has_a_name_there(plan_of, tmp_path):
    config, made = plan_of(device_model=True, firebase_model="digits", project="my-project-123")
    with pytest.raises(MissingSettings, match="WORKSPACE"):
        nodes_of(config, made, tmp_path)
    in_a_bucket = dataclasses.replace(config, workspace="gs://bucket/workspace")
    assert list(nodes_of(in_a_bucket, made, tmp_path))[-1] == "FirebasePublisher"
    assert "FirebasePublisher" not in nodes_of(*plan_of(device_model=True), tmp_path)


def test_the_cache_sees_another_extractor(plan_of, tmp_path, monkeypatch):
    """The name of its module, which is all that TFX sees, stays the same."""
    config, made = plan_of(device_model=True)
    before = nodes_of(config, made, tmp_path)["DeviceEvaluator"].exec_properties
    source = inspect.getsource(device_evaluator)
    monkeypatch.setattr(device_evaluator.inspect, "getsource", lambda module: f"{source} # changed")

    after = nodes_of(config, made, tmp_path)["DeviceEvaluator"].exec_properties

    assert before["module_path"] == after["module_path"] == "pipeline.components.device_evaluator"
    assert before["code"] != after["code"]
    assert before | {"code": ""} == after | {"code": ""}


def test_each_model_has_machines_of_its_own_on_vertex_ai(plan_of, tmp_path):
    config, made = plan_of(device_model=True, device_training_machines="n1-highcpu-8")
    modules = dataclasses.replace(made.modules, wheel="gs://bucket/modules/1/spanloop.whl")

    run = training.parameters(config, dataclasses.replace(made, modules=modules), str(tmp_path))

    job, device_job = (json.loads(text)["custom_job"] for text in (run.training_config, run.device_training_config))
    assert job["training_machines"] == "n1-standard-4" and device_job["training_machines"] == "n1-highcpu-8"
