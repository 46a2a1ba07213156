import pytest
from tensorflow_model_analysis.proto import config_pb2

from pipeline.config import Config
from pipeline.quality import release_gate

CONFIG = Config(accuracy_threshold=0.9, accuracy_margin=0.05)


def thresholds(config):
    found = config.metrics_specs[0].metrics[0].per_slice_thresholds
    return {tuple(threshold.slicing_specs[0].feature_keys): threshold.threshold for threshold in found}


def test_without_a_current_model_only_the_threshold_counts():
    config = release_gate.eval_config(CONFIG, current=False)

    assert [model.name for model in config.model_specs] == ["candidate"]
    (overall,) = thresholds(config).values()
    assert overall.value_threshold.lower_bound.value == 0.9
    assert not overall.HasField("change_threshold")


def test_a_current_model_must_not_be_undercut_overall_or_on_a_span():
    config = release_gate.eval_config(CONFIG, current=True)

    assert [model.is_baseline for model in config.model_specs] == [False, True]
    found = thresholds(config)
    assert set(found) == {(), ("span",)}
    for threshold in found.values():
        assert threshold.change_threshold.absolute.value == pytest.approx(-0.05)
        assert threshold.change_threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
    assert found[()].value_threshold.lower_bound.value == 0.9
    assert not found[("span",)].HasField("value_threshold")


def test_metrics_are_told_for_spans_and_labels():
    slices = {tuple(spec.feature_keys) for spec in release_gate.eval_config(CONFIG, current=True).slicing_specs}

    assert slices == {(), ("span",), ("label",)}
