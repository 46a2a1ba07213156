"""A released model on this machine: a prediction for each image, in order; what cannot be trusted is not loaded."""

import shutil

import pytest

from pipeline.batch import here
from pipeline.batch.predictor import Classification
from pipeline.config import Config
from pipeline.data import digits
from pipeline.errors import BrokenRelease
from pipeline.quality.scores import LabelledImage, score
from pipeline.releases.factory import open_releases


def test_predictions_are_paired_with_their_images_in_order_whatever_is_in_flight():
    images = [LabelledImage(f"cat/{n}.png", "cat", b"%d" % n) for n in range(100)]

    def in_batches_of_seven(encoded):
        batch = []
        for image in encoded:
            batch.append(image)
            if len(batch) == 7:
                yield from map(classification, batch)
                batch = []
        yield from map(classification, batch)

    def classification(image: bytes) -> Classification:
        return Classification("cat" if int(image) % 2 else "dog", int(image) / 100)

    results = list(here.predictions(images, in_batches_of_seven))

    assert [(r.name, r.image) for r in results] == [(i.name, i.image) for i in images]
    assert [r.correct for r in results] == [n % 2 == 1 for n in range(100)]
    assert [r.confidence for r in results] == [n / 100 for n in range(100)]


def test_an_image_that_cannot_be_decoded_comes_back_without_a_prediction():
    images = [LabelledImage(f"cat/{n}.png", "cat", b"%d" % n) for n in range(3)]

    found = list(
        here.predictions(images, lambda encoded: [None if b == b"1" else Classification("cat", 1) for b in encoded])
    )

    assert found[1] is images[1]
    assert score(found)[0].images == 2


def test_a_released_model_predicts(trained_workspace):
    config = Config(workspace=str(trained_workspace))
    images = [
        LabelledImage(name, name.partition("/")[0], image) for name, image in digits.images(digits.FIRST, limit=40)
    ]

    with here.predictor(config, open_releases(config.releases).newest()) as predict:
        predictions = list(predict(images))

    assert [prediction.name for prediction in predictions] == [image.name for image in images]
    assert sum(prediction.correct for prediction in predictions) > 30


def test_a_damaged_release_is_not_loaded(trained_workspace, tmp_path):
    releases = tmp_path / "releases"
    shutil.copytree(trained_workspace / "releases", releases)
    with open(releases / "model-1" / "model.tar.gz", "ab") as archive:
        archive.write(b"x")
    config = Config(workspace=str(trained_workspace), releases=str(releases))

    with pytest.raises(BrokenRelease, match="checksum"):
        with here.predictor(config, open_releases(str(releases)).get("model-1")) as predict:
            list(predict([]))
