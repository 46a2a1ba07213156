"""Compiled pipelines: the same text for the same structure and image, on any machine."""

import dataclasses
import hashlib
import itertools
import json

import pytest

from pipeline import retraining, training
from pipeline.config import Config
from pipeline.errors import ConfigError, InvalidSpec, MissingSettings
from pipeline.orchestrators.compiled import compile_pipeline
from pipeline.orchestrators.spec_lint import containers
from pipeline.packaging.modules import Modules
from pipeline.plan import Plan, Shape
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled

WHEEL = "gs://bucket/modules/abc/spanloop_modules-1-py3-none-any.whl"
MODULES = Modules("modules.classification", "abc", "gs://bucket/modules/abc/schema.pbtxt", WHEEL)
PLAN = Plan((1, 2), ("cat", "dog"), "f1", MODULES, seed=0, tune=False, current="model-1", commit="c0ffee")
CONFIG = Config(workspace="gs://bucket/loop", image=IMAGE, project="project-1", region="europe-west1")


def tasks(spec: dict) -> dict:
    return spec["root"]["dag"]["tasks"]


@pytest.mark.parametrize("baseline, curated, tune, endpoint", list(itertools.product([False, True], repeat=4)))
def test_every_shape_of_the_training_pipeline_compiles_to_the_nodes_it_has_on_one_machine(
    baseline, curated, tune, endpoint
):
    made = compiled("training", Shape(baseline, curated, tune), endpoint="photographs" if endpoint else "")

    nodes = set(tasks(made.spec))
    assert nodes >= {"SpanExampleGen", "StatisticsGen", "AnomalyGate", "Transform", "Trainer", "ReleasePusher"}
    assert ("CurrentModel" in nodes) == baseline
    assert ("ImportSchemaGen" in nodes) == curated and ("SchemaGen" in nodes) != curated
    assert ("Tuner" in nodes) == tune
    assert ("ModelUploader" in nodes) == ("EndpointDeployer" in nodes) == endpoint
    assert made.spec["schemaVersion"] == "2.1.0"


def test_a_search_for_hyperparameters_changes_no_node_before_it():
    plain, tuned = (tasks(compiled("training", Shape(tune=tune), endpoint="").spec) for tune in (False, True))

    changed = {"Trainer"}  # which takes what was found
    assert {name for name, task in plain.items() if task != tuned[name]} == changed
    assert set(tuned) - set(plain) == {"Tuner"}


def test_a_device_model_has_nodes_and_parameters_of_its_own_and_leaves_none_without_it():
    made = compiled("training", Shape(baseline=True, device=True, device_baseline=True))
    nodes = {"DeviceTrainer", "DeviceConverter", "DeviceEvaluator", "CurrentDeviceModel", "PairGate"}

    assert nodes <= set(tasks(made.spec))
    assert {"device_run_fn", "device_training_config", "device_eval_config", "device_code"} <= set(made.parameters)
    assert "CurrentDeviceModel" not in tasks(compiled("training", Shape(device=True)).spec)
    single = compiled("training", Shape(baseline=True, curated=True, tune=True), endpoint="photographs").text.lower()
    assert "device" not in single and "pair" not in single


KMS_KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"


def test_on_vertex_ai_a_key_in_kms_signs_for_a_channel_that_is_no_folder():
    channel = {"device_channel": "gs://bucket/models", "device_signing_key": KMS_KEY}
    assert "DevicePublisher" in tasks(compiled("training", Shape(device=True), **channel).spec)
    with pytest.raises(ConfigError, match="DEVICE_SIGNING_KEY is 'key.pem'.*Cloud KMS"):
        compiled("training", Shape(device=True), **channel | {"device_signing_key": "key.pem"})
    with pytest.raises(ConfigError, match="DEVICE_CHANNEL is './models'"):
        compiled("training", Shape(device=True), **channel | {"device_channel": "./models"})


def test_what_differs_from_run_to_run_is_a_parameter_and_given_by_the_pipeline_itself():
    made = compiled("training", Shape(baseline=True, curated=True, tune=True), endpoint="photographs")

    assert set(made.parameters) <= {field.name for field in dataclasses.fields(training.Parameters)}
    assert {"spans", "fingerprint", "current", "run_fn", "tuner_fn", "schema", "training_config"} <= set(
        made.parameters
    )
    for value in ("gs://", "c0ffee", "model-1", '"cat"', "classification"):  # nothing of this run, or of any
        assert value not in made.text
    given = retraining.parameters(CONFIG, "all", MODULES, "c0ffee")
    assert set(compiled("retraining").parameters) == set(dataclasses.asdict(given))
    assert Config.from_json(given.settings) == CONFIG and Modules.from_json(given.modules) == MODULES


def test_modules_are_named_by_their_wheel():
    run = training.parameters(CONFIG, PLAN, "gs://bucket/loop/pipeline_root/training")

    assert run.run_fn == f"modules.classification.model@{WHEEL}.run_fn"
    assert run.preprocessing_fn == f"modules.classification.preprocessing@{WHEEL}.preprocessing_fn"
    job = json.loads(run.training_config)["custom_job"]
    assert job["image"] == IMAGE and job["training_machines"] == "n1-standard-4"
    checkpoints = json.loads(run.training_config)["checkpoints"]
    assert checkpoints == f"gs://bucket/loop/pipeline_root/training/checkpoints/{PLAN.weights}"


def test_a_compiled_pipeline_is_kept_by_its_digest(tmp_path):
    made = compiled("training")
    storage = open_storage(str(tmp_path))

    address = made.keep(storage)

    with open(made.keep(storage), "rb") as file:  # again makes no difference
        assert hashlib.sha256(file.read()).hexdigest() == made.digest
    assert address == str(tmp_path / "pipelines" / "training" / f"{made.digest}.json")


def test_another_structure_or_image_is_another_pipeline():
    other = IMAGE.replace("1a1a", "2b2b", 1)
    made = [
        compiled("training"),
        compiled("training", Shape(baseline=True)),
        compiled("training", caching=False),
        compile_pipeline(Config(image=other), "training", Shape()),
        compiled("retraining"),
    ]

    assert len({pipeline.digest for pipeline in made}) == len(made)
    assert all(container["image"] == other for _, container in containers(made[3].spec))


def test_every_task_may_reuse_what_an_equal_run_made_unless_that_is_switched_off():
    assert all(task["cachingOptions"] == {"enableCache": True} for task in tasks(compiled("training").spec).values())
    for made in (compiled("training", caching=False), compiled("retraining")):
        assert not any("cachingOptions" in task for task in tasks(made.spec).values())


def test_a_search_on_several_machines_says_on_how_many():
    def trials(number):
        made = compiled("training", Shape(tune=True), parallel_trials=number)
        return tasks(made.spec)["Tuner"]["inputs"]["parameters"].get("tune_args")

    assert json.loads(trials(3)["runtimeValue"]["constant"]) == {"num_parallel_trials": 3}
    assert trials(1) is None


def test_without_an_image_there_is_nothing_to_compile_for():
    with pytest.raises(MissingSettings, match="PIPELINE_IMAGE"):
        compile_pipeline(Config(), "training", Shape())


def test_a_secret_that_gets_into_a_pipeline_stops_it():
    """The token is the name of the region: it gets in, by way of the arguments for Dataflow."""
    config = Config(
        workspace="gs://bucket/loop",
        image=IMAGE,
        project="project-1",
        region="tok-en1",
        service_account="a@b.iam.gserviceaccount.com",
        dataflow_workers=3,
        github_token="tok-en1",
    )
    with pytest.raises(InvalidSpec, match="value of a secret setting") as refused:
        compile_pipeline(config, "training", Shape())
    assert "tok-en1" not in str(refused.value)
