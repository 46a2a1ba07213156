"""Predictions of a model that was really trained."""

import io
import math
import os
import types

import pytest
import tensorflow as tf
from PIL import Image

from pipeline.batch import inference
from pipeline.data import digits
from pipeline.releases.factory import open_releases


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    releases = open_releases(str(trained[0] / "releases"))
    return inference.load(releases.fetch(releases.newest(), str(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def scans():
    return [image for _, image in digits.images(digits.FIRST, limit=50)]


def test_every_image_gets_its_prediction_in_order_whatever_the_batches(model, scans):
    one_by_one = [prediction for scan in scans for prediction in inference.classify(model, [scan])]

    for batch_size in (1, 7, 50, 256):
        together = list(inference.classify(model, scans, batch_size))

        assert [p.label for p in together] == [p.label for p in one_by_one]
        assert [p.confidence for p in together] == pytest.approx([p.confidence for p in one_by_one], abs=1e-5)


def test_a_prediction_is_the_most_probable_of_the_labels(model, scans):
    labels = inference.labels(model)

    assert sorted(labels) == list("0123456789")
    for prediction in inference.classify(model, scans):
        assert prediction.probabilities.shape == (10,)
        assert math.isclose(prediction.probabilities.sum(), 1, abs_tol=1e-5)
        assert prediction.confidence == prediction.probabilities.max()
        assert prediction.label == labels[prediction.probabilities.argmax()]


def test_images_of_any_size_and_kind_are_taken_together(model, scans):
    images = [scans[0]]
    for size, mode, kind in (((1, 1), "L", "PNG"), ((3000, 2000), "RGB", "JPEG"), ((20, 300), "RGBA", "PNG")):
        encoded = io.BytesIO()
        Image.new(mode, size).save(encoded, kind)
        images.append(encoded.getvalue())

    assert len(list(inference.classify(model, images))) == 4


def test_what_cannot_be_decoded_costs_itself_and_no_other(model, scans):
    found = list(inference.classify(model, [b"no picture", *scans[:3], b"", scans[3]]))

    assert [classification is None for classification in found] == [True, False, False, False, True, False]
    good = [classification.label for classification in inference.classify(model, scans[:4])]
    assert [classification.label for classification in found if classification] == good


def test_a_model_that_fails_as_a_whole_loses_only_what_it_cannot_decode(model, scans):
    """Models that were released before `preprocess` said which images it decoded raise an error for all."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def strict(image):
        found = model.signatures["preprocess"](image=image)
        with tf.control_dependencies([tf.debugging.assert_equal(found["decoded"], True)]):
            return {"pixels": tf.identity(found["pixels"])}

    earlier = types.SimpleNamespace(signatures={"preprocess": strict, "predict": model.signatures["predict"]})

    found = list(inference.classify(earlier, [*scans[:5], b"no picture", *scans[5:8]]))

    assert [number for number, classification in enumerate(found) if classification is None] == [5]


def test_a_request_with_an_image_that_cannot_be_decoded_is_an_error(model, scans):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a JPEG or PNG that can be decoded"):
        model.signatures["serving_default"](image=tf.constant([scans[0], b"no picture"]))


@pytest.mark.parametrize("size, batch", [(2000, 8), (5 * 2**20, 4)])
def test_images_are_read_a_few_batches_ahead_and_no_further(model, scans, size, batch):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield scans[0] + bytes(size - len(scans[0]))

    next(inference.classify(model, endless(), batch_size=8))

    assert read <= batch * (os.cpu_count() + 1)


def test_no_images_no_predictions(model):
    assert list(inference.classify(model, [])) == []
