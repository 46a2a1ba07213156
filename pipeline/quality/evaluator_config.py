"""What TFX's Evaluator is configured to count, and how its counts are read back."""

import base64

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2  # TFX 1.21 has these messages nowhere else

from pipeline.config import Config
from pipeline.quality.release_gate import Tallies
from pipeline.quality.tally import ACCURACY, TALLY, Tally, TallyMetric

LABEL = "label"
SPAN = "span"
CANDIDATE, CURRENT = "candidate", "current"
SIGNATURE = "serving_default"


def eval_config(config: Config, current: bool) -> config_pb2.EvalConfig:
    """Asks for counts overall, by span and by label, of the candidate and of the current model if there is one.

    The Evaluator itself blesses a candidate that reaches the threshold overall. Whether it is worse than the current
    model depends on all slices together, so pipeline/quality/release_gate.py decides that.
    """
    # without a type TFMA finds one out by having Keras load the model
    kind = config_pb2.ModelSpec(model_type="tf_generic", signature_name=SIGNATURE)
    return _counts(kind, config.accuracy_threshold, current)


def device_eval_config(config: Config, current: bool) -> config_pb2.EvalConfig:
    """Asks for the same counts of the device model."""
    return _counts(config_pb2.ModelSpec(model_type="tf_lite"), config.device_accuracy_threshold, current)


def _counts(kind: config_pb2.ModelSpec, threshold: float, current: bool) -> config_pb2.EvalConfig:
    overall, by_span, by_label = (config_pb2.SlicingSpec(feature_keys=keys) for keys in ([], [SPAN], [LABEL]))
    models = []
    for name in [CANDIDATE, CURRENT] if current else [CANDIDATE]:
        model = config_pb2.ModelSpec(name=name, label_key=LABEL, is_baseline=name == CURRENT)
        model.MergeFrom(kind)
        models.append(model)
    reached = config_pb2.GenericValueThreshold(lower_bound={"value": threshold})
    counts = config_pb2.MetricConfig(
        class_name=TallyMetric.__name__,
        module=TallyMetric.__module__,
        config=f'"name": "{ACCURACY}"',
        per_slice_thresholds=[  # a threshold of the metric itself would hold for every slice
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[overall], threshold=config_pb2.MetricThreshold(value_threshold=reached)
            )
        ],
    )
    return config_pb2.EvalConfig(
        model_specs=models,
        slicing_specs=[overall, by_span, by_label],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[counts])],
    )


def tallies(evaluation: str, current: bool) -> Tallies:
    """Reads what the Evaluator counted; `current`: it compared with a current model."""
    overall, by_column = Tally(), {SPAN: {}, LABEL: {}}
    found = tfma.load_eval_result(evaluation, model_name=CANDIDATE if current else None)
    for slice_key, values in found.slicing_metrics:
        tally = Tally.from_json(base64.b64decode(values[""][""][TALLY]["bytesValue"]))
        if not slice_key:
            overall = tally
        else:
            ((column, value),) = slice_key
            by_column[column][value] = tally
    # TFMA has slices in no order
    spans, labels = ({str(value): of[value] for value in sorted(of)} for of in by_column.values())
    return Tallies(overall, spans, labels)
