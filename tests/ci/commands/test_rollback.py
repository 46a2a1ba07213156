"""The command `rollback`; tests/pipeline/serving/test_endpoint.py has its cases."""

from pipeline.serving import endpoint


def test_the_last_promotion_is_taken_back(ci, serving):
    for number in (1, 2):
        endpoint.promote(serving.config, serving.release(number).tag)

    done = ci("rollback", "--json", **serving.variables)

    assert done.code == 0, done.err
    assert done.json["release"] == done.json["promoted"] == "model-1" and done.json["changed"] is True
    assert done.json["traffic"] == serving.traffic == {"model-1": 100}
    assert "Undeploying model-2 from digits" in done.err


def test_settings_that_are_missing_are_named(ci):
    done = ci("rollback")
    assert done.code == 2 and "VERTEX_ENDPOINT" in done.err
