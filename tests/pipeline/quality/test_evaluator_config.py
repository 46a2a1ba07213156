import pytest
import tensorflow_model_analysis as tfma

from pipeline.config import Config
from pipeline.quality import evaluator_config
from pipeline.quality.tally import TallyMetric

CONFIG = Config(accuracy_threshold=0.9)


@pytest.mark.parametrize("current", [False, True])
def test_the_evaluator_blesses_a_model_that_reaches_the_threshold_overall(current):
    config = evaluator_config.eval_config(CONFIG, current)

    (metric,) = config.metrics_specs[0].metrics
    (threshold,) = metric.per_slice_thresholds
    assert list(threshold.slicing_specs[0].feature_keys) == []
    assert threshold.threshold.value_threshold.lower_bound.value == 0.9


def test_a_current_model_is_the_baseline():
    assert [model.is_baseline for model in evaluator_config.eval_config(CONFIG, current=False).model_specs] == [False]
    assert [model.is_baseline for model in evaluator_config.eval_config(CONFIG, current=True).model_specs] == [
        False,
        True,
    ]


def test_counts_are_made_for_spans_and_labels():
    slices = {tuple(spec.feature_keys) for spec in evaluator_config.eval_config(CONFIG, current=True).slicing_specs}

    assert slices == {(), ("span",), ("label",)}


def test_tfma_finds_the_metric_by_its_name():
    (spec,) = evaluator_config.eval_config(CONFIG, current=False).metrics_specs

    assert isinstance(tfma.metrics.metric_specs.metric_instance(spec.metrics[0]), TallyMetric)


def test_a_device_model_is_evaluated_as_tensorflow_lite_against_its_own_threshold():
    config = evaluator_config.device_eval_config(Config(device_accuracy_threshold=0.7), current=True)

    assert [model.model_type for model in config.model_specs] == ["tf_lite", "tf_lite"]
    assert [model.is_baseline for model in config.model_specs] == [False, True]
    (threshold,) = config.metrics_specs[0].metrics[0].per_slice_thresholds
    assert threshold.threshold.value_threshold.lower_bound.value == 0.7
