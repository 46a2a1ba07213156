import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from modules.classification import model
from modules.classification.settings import SETTINGS

SMALL = dataclasses.replace(SETTINGS, image_size=8, epochs=4)


def trained(epochs, checkpoints, seed=0):
    pixels = np.random.default_rng(seed).random((32, 8, 8, SMALL.channels), np.float32)
    network = model.build_model(SMALL, classes=2)
    kept = model.Checkpoints(str(checkpoints), network)
    for epoch in range(kept.restore(), epochs):
        network.fit(pixels, np.arange(32) % 2, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0)
        kept.save(epoch + 1)
    return network, kept


def test_training_goes_on_where_it_stopped_as_if_it_had_not(tmp_path):
    model.keras.utils.set_random_seed(1)
    whole, _ = trained(4, tmp_path / "whole")
    model.keras.utils.set_random_seed(1)
    trained(2, tmp_path / "stopped")
    model.keras.utils.set_random_seed(99)  # another process begins with other weights
    resumed, kept = trained(4, tmp_path / "stopped")

    assert kept.restore() == 4
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_deleted_checkpoint_is_a_fresh_start(tmp_path):
    _, kept = trained(1, tmp_path / "folder")
    kept.delete()

    assert not (tmp_path / "folder").exists()
    assert model.Checkpoints(str(tmp_path / "folder"), model.build_model(SMALL, classes=2)).restore() == 0


def test_the_learning_rate_falls_from_its_setting_towards_nothing():
    rates = [model.learning_rate(SETTINGS, epoch) for epoch in range(SETTINGS.epochs + 1)]

    assert rates[0] == SETTINGS.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0)


def dataset(pixels, labels):
    return tf.data.Dataset.from_tensor_slices((pixels.astype(np.float32), labels)).batch(8)


def test_the_curves_of_all_epochs_are_kept_over_a_restart(tmp_path):
    pixels, labels = np.random.default_rng(0).random((16, 8, 8, SMALL.channels)), np.arange(16) % 2
    for epochs in (2, 4):
        network = model.build_model(SMALL, classes=2)
        kept = model.Checkpoints(str(tmp_path), network)
        settings = dataclasses.replace(SMALL, epochs=epochs)
        model.fit(network, settings, kept, lambda epoch: dataset(pixels, labels), dataset(pixels, labels))

    assert len(kept.curves) == 4
    assert all(set(epoch) == {"loss", "accuracy", "val_loss", "val_accuracy"} for epoch in kept.curves)


def test_training_stops_at_once_when_the_loss_is_not_a_number(tmp_path):
    pixels = np.full((16, 8, 8, SMALL.channels), np.nan)
    network = model.build_model(SMALL, classes=2)
    kept = model.Checkpoints(str(tmp_path), network)

    with pytest.raises(model.TrainingDiverged, match="not a number after epoch 1: .* Lower learning_rate"):
        model.fit(network, SMALL, kept, lambda epoch: dataset(pixels, np.arange(16) % 2), None)
    assert kept.restore() == 0


class OfTwoLabels:
    """Preprocessing that knows cats and dogs."""

    labels = [b"cat", b"dog"]

    def examples(self, records):
        label = tf.io.parse_example(records, {"label": tf.io.FixedLenFeature([], tf.string)})["label"]
        number = tf.where(label == b"cat", 0, tf.where(label == b"dog", 1, -1))
        return tf.zeros([tf.size(records), 8, 8, SMALL.channels]), tf.cast(number, tf.int64)


def written(folder, *labels):
    path = str(folder / "examples.tfrecord")
    with tf.io.TFRecordWriter(path) as file:
        for label in labels:
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()]))
            example = tf.train.Example(features=tf.train.Features(feature={"label": feature}))
            file.write(example.SerializeToString())
    return [path]


def test_a_label_that_no_training_image_has_is_left_out_of_validation(tmp_path):
    examples = model.Examples(written(tmp_path, "cat", "rare", "dog", "rare"), OfTwoLabels(), SMALL)

    assert (examples.count, examples.unknown) == (4, {b"rare": 2})
    assert [int(label) for _, label in examples.to_validate()] == [0, 1]


def test_images_of_such_labels_alone_are_nothing_to_validate_with(tmp_path):
    assert model.Examples(written(tmp_path, "rare"), OfTwoLabels(), SMALL).to_validate() is None
