def test_with_nothing_collected_and_everything_trained_nothing_is_done(ci, trained_copy):
    done = ci("retrain", "--json", WORKSPACE=str(trained_copy))

    assert done.code == 0
    assert done.json["span"] is None and done.json["spans"] == [] and done.json["release"] is None
    assert "Nothing to do" in done.err and "log" not in done.err  # no pipeline was started


def test_without_anything_there_is_nothing_to_do(ci, workspace):
    done = ci("retrain", "--json", WORKSPACE=str(workspace))

    assert done.code == 0 and done.json["span"] is None


def test_automl_retrains_on_vertex_alone(ci, collect):
    collect(5)

    done = ci("retrain", PIPELINE="automl")

    assert done.code == 2 and "submit --pipeline retraining" in done.err
    assert ci("status", "--json").json["collected"] == 5
