"""What TFMA gets from LiteRT: the outputs that the other model's signature has, for one model or for two."""

import hashlib

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from pipeline.components import device_evaluator
from pipeline.components.beam import ON_THIS_MACHINE
from pipeline.config import Config
from pipeline.quality import evaluator_config
from tests.pipeline.conftest import plain

IMAGES = [plain(20), plain(250)]


def check(folder, images, current, expected):
    """Asserts, by Beam, what the extractor makes of one batch."""
    config = evaluator_config.device_eval_config(Config(), current)
    models = [
        tfma.default_eval_shared_model(str(folder), model_name=spec.name, eval_config=config)
        for spec in config.model_specs
    ]
    extractors = device_evaluator.custom_extractors(models if current else models[0], config, None)
    (predict,) = (extractor for extractor in extractors if extractor.stage_name == "ExtractPredictions")
    batch = {"features": {"image": np.array([[image] for image in images], dtype=object)}}
    with beam.Pipeline(options=PipelineOptions(ON_THIS_MACHINE)) as pipeline:
        made = pipeline | beam.Create([batch]) | predict.ptransform | beam.Map(readable)
        assert_that(made, equal_to([expected]))


def readable(extracts):
    """Returns the predicted labels of each model, or of the only one."""
    found = extracts["predictions"]
    return [of["label"].tolist() for of in found.values()] if "candidate" in found else found["label"].tolist()


def test_one_model_gives_its_predictions(bright_or_dark):
    check(bright_or_dark, IMAGES, current=False, expected=[b"dark", b"bright"])


def test_two_models_give_theirs_by_name(bright_or_dark):
    check(bright_or_dark, IMAGES, current=True, expected=[[b"dark", b"bright"], [b"dark", b"bright"]])


def test_an_image_that_cannot_be_decoded_is_named(bright_or_dark):
    with pytest.raises(Exception, match=f"decoded: sha256 {hashlib.sha256(b'broken').hexdigest()}"):
        check(bright_or_dark, [plain(20), b"broken"], current=False, expected=[])


def test_the_digest_of_the_code_is_the_same_for_the_same_code():
    assert device_evaluator.code_digest() == device_evaluator.code_digest() != ""
