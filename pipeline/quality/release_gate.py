"""What makes a model good enough to be released, and how the Evaluator's verdict reads."""

from collections.abc import Iterator

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2  # TFX 1.21 has these messages nowhere else

from pipeline.config import Config
from pipeline.outcomes import Metrics

LABEL = "label"
SPAN = "span"
CANDIDATE, CURRENT = "candidate", "current"
SIGNATURE = "serving_default"  # TFMA finds the number of a text label in this signature's output `all_classes`
ACCURACY = "accuracy"


def eval_config(config: Config, current: bool) -> config_pb2.EvalConfig:
    """Asks for accuracy overall, by span and by label, and sets what a model needs to be blessed.

    It has to reach the threshold, and must not be worse than the current model (if there is one) by more than the
    margin, overall and on each span.
    """
    overall, by_span, by_label = (config_pb2.SlicingSpec(feature_keys=keys) for keys in ([], [SPAN], [LABEL]))
    reached = config_pb2.GenericValueThreshold(lower_bound={"value": config.accuracy_threshold})
    models = [config_pb2.ModelSpec(name=CANDIDATE, signature_name=SIGNATURE, label_key=LABEL)]
    # a threshold of the metric itself would hold for every slice, so all are given by slice
    thresholds = [_threshold(overall, value_threshold=reached)]
    if current:
        models.append(config_pb2.ModelSpec(name=CURRENT, signature_name=SIGNATURE, label_key=LABEL, is_baseline=True))
        not_worse = config_pb2.GenericChangeThreshold(
            absolute={"value": -config.accuracy_margin}, direction=config_pb2.MetricDirection.HIGHER_IS_BETTER
        )
        thresholds = [
            _threshold(overall, value_threshold=reached, change_threshold=not_worse),
            _threshold(by_span, change_threshold=not_worse),
        ]
    # The share of right ones among the first guesses. As this TFMA computes it in numpy, and knows what to make of a
    # label that a model does not know: wrong. Keras' accuracy does the same in seconds of tracing.
    accuracy = config_pb2.MetricsSpec(
        binarize=config_pb2.BinarizationOptions(top_k_list={"values": [1]}),
        metrics=[
            config_pb2.MetricConfig(
                class_name="Precision", config=f'"name": "{ACCURACY}"', per_slice_thresholds=thresholds
            )
        ],
    )
    return config_pb2.EvalConfig(
        model_specs=models,
        slicing_specs=[overall, by_span, by_label],
        metrics_specs=[accuracy, config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="ExampleCount")])],
    )


def metrics(evaluation: str, model: str | None) -> Metrics:
    """Reads the metrics of one of two models, CANDIDATE or CURRENT, or of the only one (None)."""
    overall, total = None, 0
    by_column: dict[str, dict[int | str, float]] = {SPAN: {}, LABEL: {}}
    for slice_key, values in tfma.load_eval_result(evaluation, model_name=model).slicing_metrics:
        accuracy, images = values[""]["topK:1"][ACCURACY]["doubleValue"], values[""][""]["example_count"]["doubleValue"]
        if not slice_key:
            overall, total = accuracy, int(images)
        else:
            ((column, value),) = slice_key
            by_column[column][value] = accuracy
    # TFMA has slices in no order
    per_span, per_label = ({str(value): share for value, share in sorted(of.items())} for of in by_column.values())
    return Metrics(overall, total, per_span, per_label)


def reasons(evaluation: str, current: str) -> Iterator[str]:
    """Yields why a model was not blessed, a sentence each."""
    for failed_slice in tfma.load_validation_result(evaluation).metric_validations_per_slice:
        keys = failed_slice.slice_key.single_slice_keys
        where = f"on span {keys[0].int64_value}" if keys else "overall"
        for failure in failed_slice.failures:
            value = failure.metric_value.double_value.value
            if failure.metric_key.is_diff:
                allowed = -failure.metric_threshold.change_threshold.absolute.value
                yield f"accuracy {where} is {-value:.4f} below that of {current}, more than the {allowed:g} allowed"
            else:
                bound = failure.metric_threshold.value_threshold.lower_bound.value
                yield f"accuracy {where} is {value:.4f}, below the threshold {bound:g}"


def _threshold(slices: config_pb2.SlicingSpec, **thresholds) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[slices], threshold=config_pb2.MetricThreshold(**thresholds)
    )
