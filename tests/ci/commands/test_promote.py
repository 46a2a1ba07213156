"""The command `promote`; tests/pipeline/serving/test_endpoint.py has its cases."""

from pipeline.serving import endpoint


def test_a_release_is_promoted_and_the_outcome_printed(ci, serving):
    endpoint.deploy(serving.config, serving.release(1))
    endpoint.deploy(serving.config, serving.release(2))

    done = ci("promote", "--json", **serving.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == done.json["promoted"] == "model-2" and done.json["changed"] is True
    assert done.json["traffic"] == serving.traffic == {"model-2": 100}
    assert done.json["endpoint"] == serving.endpoint.name
    assert "Undeploying model-1 from digits" in done.err and "digits: model-2 100 %." in done.err


def test_settings_that_are_missing_are_named(ci):
    done = ci("promote", "--json")
    assert done.code == 2 and done.out == ""
    assert "VERTEX_ENDPOINT" in done.err and "GCP_PROJECT" in done.err and "make emulators" in done.err
