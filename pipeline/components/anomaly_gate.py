"""Stops a run whose data does not fit its schema."""

import os

import tensorflow as tf
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.types import artifact_utils

from pipeline.components import tfx_api as tfx
from pipeline.components.beam import ON_THIS_MACHINE, batch_by_bytes
from pipeline.components.span_example_gen import spans_of
from pipeline.errors import DataAnomalies

artifacts = tfx.artifacts

# Otherwise every image is a key of a GroupByKey: for 50 photographs 2 GB of memory and ten times the time.
STATISTICS = tfdv.StatsOptions(use_sketch_based_topk_uniques=True)


@tfx.component
def AnomalyGate(
    anomalies: tfx.InputArtifact[artifacts.ExampleAnomalies],
    examples: tfx.InputArtifact[artifacts.Examples],
    schema: tfx.InputArtifact[artifacts.Schema],
):
    """Raises DataAnomalies, with features and spans, when ExampleValidator found any."""
    splits = artifact_utils.decode_split_names(anomalies.split_names)
    found = {}
    for split in splits:
        with tf.io.gfile.GFile(os.path.join(anomalies.uri, f"Split-{split}", "SchemaDiff.pb"), "rb") as file:
            found.update(_by_feature(anomalies_pb2.Anomalies.FromString(file.read())))
    if found:
        expected = tfdv.load_schema_text(os.path.join(schema.uri, "schema.pbtxt"))
        raise DataAnomalies(found, _anomalous_spans(examples.uri, splits, expected))


def _by_feature(anomalies: anomalies_pb2.Anomalies) -> dict[str, str]:
    found = {name: info.description for name, info in anomalies.anomaly_info.items()}
    if anomalies.HasField("dataset_anomaly_info"):
        found["(all)"] = anomalies.dataset_anomaly_info.description
    return found


def _anomalous_spans(examples: str, splits: list[str], schema: schema_pb2.Schema) -> list[int]:
    """Returns the spans whose own statistics do not fit. Expensive, so done only when all of them together do not."""
    batch_by_bytes()
    options = PipelineOptions(ON_THIS_MACHINE)
    found = []
    for span, shards in spans_of(examples, splits).items():
        statistics = (
            tfdv.generate_statistics_from_tfrecord(shard, stats_options=STATISTICS, pipeline_options=options)
            for shard in shards
        )
        if any(_by_feature(tfdv.validate_statistics(shard, schema)) for shard in statistics):
            found.append(span)
    return found
