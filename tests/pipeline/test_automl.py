"""The AutoML pipeline as it is compiled: its nodes, their parameters, and the checks that these pass."""

import dataclasses

import pytest

from pipeline import automl, plan
from pipeline.config import Config
from pipeline.data import spans
from pipeline.data.automl_dataset import ML_USE
from pipeline.errors import InvalidDataset, NoSpans
from pipeline.orchestrators import spec_lint
from pipeline.plan import AutomlPlan
from pipeline.storage.factory import open_storage
from tests.conftest import IMAGE, collect, photographs
from tests.pipeline.conftest import compiled

KEY = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"


@pytest.fixture
def spec() -> dict:
    return compiled("automl").spec


def tasks(spec: dict) -> dict[str, dict]:
    """The tasks by their names for people."""
    return {task["taskInfo"]["name"]: task for task in spec["root"]["dag"]["tasks"].values()}


def constants(task: dict) -> dict[str, object]:
    given = task["inputs"]["parameters"].items()
    return {name: source["runtimeValue"]["constant"] for name, source in given if "runtimeValue" in source}


def test_it_passes_its_checks_with_and_without_a_key(spec):
    assert spec_lint.lint(spec) == []
    keyed = compiled("automl", encryption_key=KEY).spec
    assert spec_lint.lint(keyed) == []
    names = [name for name, task in tasks(keyed).items() if KEY in constants(task).values()]
    assert names == ["CloudTrainer", "EdgeTrainer", "Dataset", "Predictions"]


def test_a_release_is_served_and_published_where_the_settings_say(spec):
    assert [name for name in tasks(spec) if name in ("Deploy", "Publish", "Firebase")] == []
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
    everywhere = compiled(
        "automl",
        endpoint="photographs",
        device_channel="gs://bucket/devices",
        device_signing_key=key,
        workspace="gs://bucket/w",
        project="my-project",
        firebase_model="photographs",
    ).spec

    assert spec_lint.lint(everywhere) == []
    for name in ("Deploy", "Publish", "Firebase"):
        assert tasks(everywhere)[name]["dependentTasks"] == ["release"]


def test_both_models_are_trained_side_by_side_on_our_split(spec):
    cloud, edge = (tasks(spec)[name] for name in ("CloudTrainer", "EdgeTrainer"))

    assert cloud["dependentTasks"] == edge["dependentTasks"] == ["image-dataset-create"]
    for use in ("training", "validation", "test"):
        assert constants(cloud)[f"{use}_filter_split"] == f"labels.{ML_USE}={use}"
    assert constants(cloud)["model_type"] == "CLOUD"
    assert constants(edge)["model_type"] == "MOBILE_TF_VERSATILE_1"
    fast = compiled("automl", automl_edge_model="MOBILE_TF_LOW_LATENCY_1").spec
    assert constants(tasks(fast)["EdgeTrainer"])["model_type"] == "MOBILE_TF_LOW_LATENCY_1"


def test_the_dataset_has_the_schema_of_one_label_an_image(spec):
    from google.cloud.aiplatform import schema  # two seconds

    known = schema.dataset.ioformat.image.single_label_classification
    assert constants(tasks(spec)["Dataset"])["import_schema_uri"] == known


def test_nothing_is_cached_where_caching_is_off(spec):
    def cached(spec: dict) -> set[bool]:
        return {task["cachingOptions"].get("enableCache", False) for task in spec["root"]["dag"]["tasks"].values()}

    assert cached(spec) == {True}
    assert cached(compiled("automl", caching=False).spec) == {False}


def test_every_root_parameter_has_a_value_of_its_type(spec, tmp_path):
    storage = open_storage(str(tmp_path))
    collect(storage, photographs(range(30)))
    spans.prepare(storage)
    config = Config(workspace=str(tmp_path), image=IMAGE, project="my-project", region="europe-west1")

    planned = plan.automl(config, "all")
    values = dataclasses.asdict(automl.parameters(config, planned, "c0ffee", "gs://bucket/root"))

    defined = spec["root"]["inputDefinitions"]["parameters"]
    assert set(values) == set(defined)
    kinds = {name: {"STRING": str, "NUMBER_INTEGER": int}[of["parameterType"]] for name, of in defined.items()}
    assert {name: type(value) for name, value in values.items()} == kinds
    assert AutomlPlan.from_json(values["run"]) == planned
    assert Config.from_json(values["settings"]) == config
    assert (values["name"], values["edge_name"]) == (f"spanloop-{planned.identity[:12]}", f"{values['name']}-edge")


def test_the_identity_depends_on_data_and_budgets(tmp_path):
    storage = open_storage(str(tmp_path))
    collect(storage, photographs(range(30)))
    spans.prepare(storage)
    config = Config(workspace=str(tmp_path))

    first = plan.automl(config, "all")

    assert plan.automl(config, "all").identity == first.identity
    more = dataclasses.replace(config, automl_cloud_budget=9_000)
    assert plan.automl(more, "all").identity != first.identity


def test_a_plan_refuses_what_automl_would_refuse(tmp_path):
    config = Config(workspace=str(tmp_path))
    with pytest.raises(NoSpans):
        plan.automl(config, "all")

    storage = open_storage(str(tmp_path))
    collect(storage, photographs(range(10)))
    spans.prepare(storage)
    with pytest.raises(InvalidDataset, match="at least 10 a label"):
        plan.automl(config, "all")
