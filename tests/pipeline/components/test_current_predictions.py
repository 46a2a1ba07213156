"""What an Evaluator gets of the current model, which runs in a confined process."""

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from pipeline.components import current_predictions
from pipeline.components.beam import ON_THIS_MACHINE
from pipeline.config import Config
from pipeline.quality import evaluator_config
from tests.pipeline.conftest import plain

IMAGES = [plain(20), plain(250)]


def check(candidate, current, images, expected):
    """Asserts, by Beam, which labels a batch of images gets of both models."""
    config, folders = evaluator_config.eval_config(Config(), True), {"candidate": candidate, "current": current}
    models = [
        tfma.default_eval_shared_model(str(folders[spec.name]), model_name=spec.name, eval_config=config)
        for spec in config.model_specs
    ]
    extractors = current_predictions.custom_extractors(models, config, None)
    (predict,) = (extractor for extractor in extractors if extractor.stage_name == "ExtractPredictions")
    batch = {"features": {"image": np.array(images, dtype=object)}, "input": np.array([b""] * len(images))}
    with beam.Pipeline(options=PipelineOptions(ON_THIS_MACHINE)) as pipeline:
        made = pipeline | beam.Create([batch]) | predict.ptransform | beam.Map(labels)
        assert_that(made, equal_to([expected]))


def labels(extracts):
    return {name: of["label"].tolist() for name, of in extracts["predictions"].items()}


def test_both_models_give_their_predictions_by_name(dark_or_bright):
    expected = [b"dark", b"bright"]
    check(dark_or_bright, dark_or_bright, IMAGES, {"candidate": expected, "current": expected})


def test_the_current_model_sees_no_credentials(dark_or_bright, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "a-secret")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def preprocess(self, image):
            pixels = tf.zeros([tf.shape(image)[0], 1, 1, 3])
            return {"pixels": pixels, "decoded": tf.ones(tf.shape(image), tf.bool)}

        @tf.function(input_signature=[tf.TensorSpec([None, 1, 1, 3], tf.float32, name="pixels")])
        def predict(self, pixels):
            environment = tf.io.read_file("/proc/self/environ")
            found = tf.where(tf.strings.regex_full_match(environment, ".*a-secret.*"), "secret", "none")
            share = tf.ones(tf.shape(pixels)[:1])
            label = tf.repeat(found, tf.shape(pixels)[0])
            return {"label": label, "confidence": share, "probabilities": share[:, tf.newaxis]}

    module = Module()
    signatures = {"serving_default": module.preprocess, "preprocess": module.preprocess, "predict": module.predict}
    tf.saved_model.save(module, str(tmp_path / "reading"), signatures=signatures)

    expected = {"candidate": [b"dark", b"bright"], "current": [b"none", b"none"]}
    check(dark_or_bright, tmp_path / "reading", IMAGES, expected)
