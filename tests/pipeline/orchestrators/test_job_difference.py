import copy

from pipeline.orchestrators.job_difference import differences, in_short
from pipeline.plan import Shape
from tests.conftest import IMAGE
from tests.pipeline.conftest import compiled


def job(made, **values: str) -> dict:
    return {
        "pipelineSpec": made.spec,
        "labels": {"compiled": made.digest[:6]},
        "runtimeConfig": {"parameterValues": values},
    }


def test_equal_runs_do_not_differ():
    first = job(compiled("training"), spans="[1]")
    assert differences(first, copy.deepcopy(first)) == []


def test_parameters_are_shown_where_they_differ():
    before = job(compiled("training"), spans="[1]", training_config=f'{{"modules": "{"a" * 200}", "seed": 0}}')
    after = job(compiled("training"), spans="[1, 2]", training_config=f'{{"modules": "{"a" * 200}", "seed": 1}}', x="y")

    first, second, third = differences(before, after)
    assert first == "parameter spans: [1] -> [1, 2]"
    assert second.startswith("parameter training_config: ...") and '"seed": 0} -> ...' in second
    assert len(second) < 200 and second.endswith('"seed": 1}')
    assert third == "parameter x: (none) -> y"


def test_another_image_is_said_once():
    made = compiled("training")
    before, after = job(made), job(made)
    for executor in after["pipelineSpec"]["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = IMAGE.replace("1a", "2b")

    assert differences(before, after) == [f"image: {IMAGE} -> {IMAGE.replace('1a', '2b')}"]


def test_nodes_that_came_went_or_are_another():
    before, after = compiled("training"), compiled("training", Shape(baseline=True, curated=True), caching=False)

    changes = differences(job(before), job(after))

    assert changes[0] == f"compiled pipeline: {before.digest[:6]} -> {after.digest[:6]}"
    assert {"node CurrentModel: new", "node ImportSchemaGen: new", "node SchemaGen: gone"} <= set(changes)
    assert "node Evaluator: another wiring and caching and interface and command" in changes
    assert "node SpanExampleGen: another caching" in changes


def test_in_short_digests_and_json_are_only_named():
    made, other = compiled("training"), compiled("training", Shape(tune=True))
    before = job(made, spans="[1]", fingerprint="a" * 64, eval_config='{"a": 1}', current="")
    after = job(other, spans="[1, 2]", fingerprint="b" * 64, eval_config='{"a": 2}', current="model-7")

    lines = in_short(before, after)

    assert lines[0] == "another compiled pipeline" and lines[-1] == "other values of eval_config, fingerprint"
    assert {"parameter spans: [1] -> [1, 2]", "parameter current:  -> model-7", "node Tuner: new"} <= set(lines)
    assert in_short(before, copy.deepcopy(before)) == []
