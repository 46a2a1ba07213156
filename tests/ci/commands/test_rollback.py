"""Rolling back by command; what comes of it in each case is in tests/pipeline/serving/test_endpoint.py."""

from pipeline.serving import endpoint


def test_the_last_promotion_is_taken_back(ci, serving):
    for number in (1, 2):
        endpoint.promote(serving.config, serving.release(number).tag)

    done = ci("rollback", "--json", **serving.variables)

    assert done.code == 0, done.err
    assert done.told["release"] == done.told["promoted"] == "model-1" and done.told["changed"] is True
    assert done.told["traffic"] == serving.traffic == {"model-1": 100}
    assert "Undeploying model-2 from digits" in done.err


def test_settings_that_are_missing_are_named(ci):
    done = ci("rollback")
    assert done.code == 2 and "VERTEX_ENDPOINT" in done.err
