"""The device model: trained, exported with one static input, described, and converted."""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf

from modules.classification import device, model
from modules.classification.settings import DEVICE
from pipeline.device import conversion, description
from pipeline.device.litert import LiteRTModel


# the same for DenseNet121 is in benchmarks/device_model.py: it takes minutes
def test_mobilenet_takes_a_training_step_and_runs_on_a_device(tmp_path):
    settings = dataclasses.replace(DEVICE, backbone="mobilenet_v3")
    network = model.build_model(settings, classes=3)
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    network.run_eagerly = True  # tracing the step takes half a minute
    before = network.get_layer(model.HEAD).get_weights()[0].copy()
    loss, _ = network.train_on_batch(images, np.array([0, 1, 2, 0]))
    assert np.isfinite(loss) and not np.array_equal(before, network.get_layer(model.HEAD).get_weights()[0])

    device.export(network, ["a", "b", "c"], settings, str(tmp_path / "model"))
    path = conversion.convert(str(tmp_path / "model"), str(tmp_path), "fp16", images)

    converted = LiteRTModel(path)
    assert converted.shape == (1, 32, 32, 3)
    assert 0 < converted.latency(images[0], seconds=0.1) < 100
    np.testing.assert_allclose(converted.predict(images), network(images, training=False).numpy(), atol=0.01)


def test_the_export_has_one_static_input_and_says_what_it_takes(tmp_path):
    network = model.build_model(DEVICE, classes=2)
    device.export(network, ["cat", "dog"], DEVICE, str(tmp_path))

    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    shape = [1, DEVICE.image_size, DEVICE.image_size, DEVICE.channels]
    assert signature.structured_input_signature[1]["image"].shape.as_list() == shape
    assert {name: output.shape.as_list() for name, output in signature.structured_outputs.items()} == {
        "probabilities": [1, 2]
    }
    described = description.read(str(tmp_path))  # refuses an input that an app cannot make
    assert described.labels == ("cat", "dog")
    assert described.parameters == network.count_params()
    assert json.loads(pathlib.Path(tmp_path, "device.json").read_text()) == json.loads(described.to_json())


def test_batch_normalization_forgets_fast_enough_for_few_steps_an_epoch():
    network = model.build_model(dataclasses.replace(DEVICE, backbone="mobilenet_v3"), classes=2)

    layers = [layer for layer in network._flatten_layers() if isinstance(layer, model.keras.layers.BatchNormalization)]
    assert len(layers) > 20
    assert {layer.momentum for layer in layers} == {0.9}


def test_the_dry_run_classifies_two_images():
    png = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()

    device.dry_run([png, png])
