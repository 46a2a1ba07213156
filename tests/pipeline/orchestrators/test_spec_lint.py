"""Mistakes that compile. Each is made in a good spec, or by compiling what makes it."""

import json

import pytest

from pipeline.components import tfx_api as tfx
from pipeline.components.span_example_gen import SpanExampleGen
from pipeline.components.span_preparator import SpanPreparator
from pipeline.orchestrators import spec_lint
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled


def tasks(spec):
    return spec["root"]["dag"]["tasks"]


def container(spec, node):
    return dict(spec_lint.containers(spec))[node]


def compile_nodes(*nodes):
    """What TFX makes of nodes, without a question."""
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

    config = runner.KubeflowV2DagRunnerConfig(default_image=IMAGE, use_pipeline_spec_2_1=True)
    pipeline = tfx.Pipeline("bad", "root", components=list(nodes))
    return json.loads(json.dumps(runner.KubeflowV2DagRunner(config).run(pipeline, write_out=False)["pipelineSpec"]))


@tfx.component
def Stray(text: tfx.Parameter[str], output: tfx.OutputArtifact[tfx.artifacts.String]):
    """Lies in a test, so the image does not have it."""
    output.write(text)


def test_what_we_compile_is_right(spec):
    assert spec_lint.lint(spec) == []
    assert spec_lint.lint(compiled("retraining").spec) == []


def test_another_schema(spec):
    spec["schemaVersion"] = "2.0.0"
    assert spec_lint.lint(spec) == ["its schema is '2.0.0', not 2.1.0"]


@pytest.mark.parametrize("where", ["artifact", "order", "output", "parameter", "root"])
def test_an_input_that_comes_from_nowhere(spec, where):
    evaluator = tasks(spec)["Evaluator"]
    model = evaluator["inputs"]["artifacts"]["model"]["taskOutputArtifact"]
    if where == "artifact":
        model["producerTask"] = "Trainer_task"
    elif where == "order":
        evaluator["dependentTasks"].append("Trainer_task")
    elif where == "output":
        model["outputArtifactKey"] = "models"
    elif where == "parameter":  # what TFX makes of `outputs["d"].future()[0].value`
        source = {"producerTask": "Trainer_task", "outputParameterKey": "model"}
        evaluator["inputs"]["parameters"]["example_splits"] = {"taskOutputParameter": source}
    else:
        evaluator["inputs"]["parameters"]["example_splits"] = {"componentInputParameter": "splits"}

    (mistake,) = spec_lint.lint(spec)
    assert {"artifact": "not a task", "order": "waits for Trainer_task", "root": "not a root parameter"}.get(
        where, "no such output" if where == "output" else "not a task"
    ) in mistake


def test_a_runtime_parameter_inside_another_value_is_a_constant():
    """TFX writes JSON of this dict, parameter and all, and is content."""
    examples = SpanExampleGen(workspace="gs://bucket/loop", spans="[1]", fingerprint="f1")
    statistics = tfx.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.SchemaGen(statistics=statistics.outputs["statistics"])
    transform = tfx.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="modules.classification.preprocessing.preprocessing_fn",
        custom_config={"modules": tfx.RuntimeParameter(name="digest", ptype=str)},
    )

    (mistake,) = spec_lint.lint(compile_nodes(examples, statistics, schema, transform))
    assert mistake == "custom_config of Transform has a RuntimeParameter or placeholder frozen into a constant"


def test_an_executor_of_a_test_or_of_the_main_program_is_not_in_the_image(spec):
    compiled_here = compile_nodes(Stray(text="x"))
    (mistake,) = spec_lint.lint(compiled_here)
    assert "tests.pipeline.orchestrators.test_spec_lint.Stray_Executor, which is not in the image" in mistake

    for path in ("__main__.Stray_Executor", "modules.classification.model.Executor"):
        broken = json.loads(json.dumps(spec))
        arguments = container(broken, "Trainer")["args"]
        arguments[arguments.index("--executor_class_path") + 1] = path
        assert [f"Trainer runs {path}" in mistake for mistake in spec_lint.lint(broken)] == [True]


def test_an_executor_that_does_not_exist(spec):
    arguments = container(spec, "Trainer")["args"]
    arguments[1] = "pipeline.components.vertex_trainer.Executer"
    assert spec_lint.lint(spec) == ["Trainer runs pipeline.components.vertex_trainer.Executer, which does not exist"]
    arguments[1] = "pipeline.components.vertex_trainers.Executor"
    assert "does not exist" in spec_lint.lint(spec)[0]
    del container(spec, "Trainer")["args"][:2]
    assert spec_lint.lint(spec) == ["Trainer has no executor class"]


def test_an_infra_validator(spec):
    container(spec, "Trainer")["args"][1] = "tfx.components.infra_validator.executor.Executor"
    assert spec_lint.lint(spec) == ["Trainer is an InfraValidator, which Vertex AI cannot run"]


def test_an_image_by_its_tag(spec):
    container(spec, "Trainer")["image"] = "europe-docker.pkg.dev/p/r/i:latest"
    assert "not named by its digest" in spec_lint.lint(spec)[0]


@pytest.mark.parametrize("path", ["/home/me/loop/schema.pbtxt", "./workspace", "file:/tmp/x", "~/loop", "../x/y"])
def test_a_path_of_the_machine_that_compiled(path):
    for node in (SpanPreparator(workspace=path), SpanPreparator(workspace=json.dumps({"workspace": path}))):
        (mistake,) = spec_lint.lint(compile_nodes(node))
        assert mistake == f"workspace of SpanPreparator names the local path {path}"


SECRETS = {
    "a GitHub token": ["ghp_" + "a1B2" * 9, "ghs_" + "a1B2" * 9, "github_pat_" + "a1B2" * 10],
    "a Google access token": ["ya29." + "a1B2" * 8],
    "a Google API key": ["AIza" + "a1B2-" * 7],
    "a private key": ["-----BEGIN RSA " + "PRIVATE KEY-----", '{"private' + '_key": "x"}'],
}


@pytest.mark.parametrize("kind, secret", [(kind, secret) for kind in SECRETS for secret in SECRETS[kind]])
def test_what_looks_like_a_secret(kind, secret):
    mistakes = spec_lint.lint(compile_nodes(SpanPreparator(workspace=f"gs://bucket/{secret}")))

    assert f"it holds what looks like {kind}" in mistakes
    assert secret not in " ".join(mistakes)


def test_the_value_of_a_secret_setting_anywhere(spec):
    container(spec, "Trainer")["env"] = [{"name": "TOKEN", "value": "correct horse"}]
    assert spec_lint.lint(spec, ["correct horse", ""]) == ["it holds the value of a secret setting"]
    assert spec_lint.lint(spec, [""]) == []


@pytest.mark.parametrize(
    ("key", "source", "mistake"),
    [
        ("budget", {"runtimeValue": {"constant": 8000.0}}, "is given budget, which it does not take"),
        ("model_type", {"runtimeValue": {"constant": 1.0}}, "is given model_type as 1.0, which is no STRING"),
        (
            "multi_label",
            {"runtimeValue": {"constant": "false"}},
            "is given multi_label as 'false', which is no BOOLEAN",
        ),
        (
            "budget_milli_node_hours",
            {"runtimeValue": {"constant": 0.5}},
            "is given budget_milli_node_hours as 0.5, which is no NUMBER_INTEGER",
        ),
        ("labels", {"runtimeValue": {"constant": ["a"]}}, "is given labels as ['a'], which is no STRUCT"),
        (
            "budget_milli_node_hours",
            {"componentInputParameter": "project"},
            "is given budget_milli_node_hours by the root parameter project, which is a STRING and no NUMBER_INTEGER",
        ),
        ("project", None, "is not given project, which it needs"),
    ],
)
def test_a_parameter_that_the_component_does_not_take(key, source, mistake):
    spec = compiled("automl").spec
    given = tasks(spec)["automl-image-training-job"]["inputs"]["parameters"]
    given.pop(key, None)
    if source:
        given[key] = source

    assert spec_lint.lint(spec) == [f"automl-image-training-job {mistake}"]


def test_an_artifact_that_a_component_needs():
    spec = compiled("automl").spec
    del tasks(spec)["automl-image-training-job"]["inputs"]["artifacts"]["dataset"]

    assert spec_lint.lint(spec) == ["automl-image-training-job is not given dataset, which it needs"]


def test_a_program_that_the_image_does_not_have():
    spec = compiled("automl").spec
    container(spec, "import-file")["command"][2] = "pipeline.nodes.import_files"

    assert spec_lint.lint(spec) == ["import-file runs pipeline.nodes.import_files, which does not exist"]


def test_another_version_of_googles_components():
    spec = compiled("automl").spec
    container(spec, "model-export")["image"] = "gcr.io/ml-pipeline/google-cloud-pipeline-components:1.0.0"

    assert len(spec_lint.lint(spec)) == 2 and "not named by its digest" in spec_lint.lint(spec)[1]
