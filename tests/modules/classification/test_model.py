import dataclasses
import itertools

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
    """Preprocessing that knows cats and dogs, and cannot decode an image whose source is `broken`."""

    labels = [b"cat", b"dog"]

    def examples(self, records):
        text = tf.io.FixedLenFeature([], tf.string, "")
        found = tf.io.parse_example(records, {"label": text, "source": text})
        number = tf.where(found["label"] == b"cat", 0, tf.where(found["label"] == b"dog", 1, -1))
        images = tf.zeros([tf.size(records), 8, 8, SMALL.channels])
        decoded = ~tf.strings.regex_full_match(found["source"], "broken.*")
        return images, tf.cast(number, tf.int64), decoded, found["source"]


def written(folder, *labels, sources=()):
    path = str(folder / "examples.tfrecord")
    with tf.io.TFRecordWriter(path) as file:
        for label, source in itertools.zip_longest(labels, sources, fillvalue=""):
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
                for name, value in (("label", label), ("source", source))
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            file.write(example.SerializeToString())
    return [path]


def test_a_label_that_no_training_image_has_is_left_out_of_validation(tmp_path):
    examples = model.Examples(written(tmp_path, "cat", "rare", "dog", "rare"), OfTwoLabels(), SMALL)

    assert (examples.count, examples.unknown) == (4, {b"rare": 2})
    assert [int(label) for _, label in examples.to_validate()] == [0, 1]


def test_images_of_such_labels_alone_are_nothing_to_validate_with(tmp_path):
    assert model.Examples(written(tmp_path, "rare"), OfTwoLabels(), SMALL).to_validate() is None


def test_images_that_cannot_be_decoded_are_named_once_and_left_out(tmp_path, caplog):
    sources = ["good"] * 200
    sources[3], sources[77] = "broken-1", "broken-2"
    examples = model.Examples(written(tmp_path, *["cat"] * 200, sources=sources), OfTwoLabels(), SMALL)

    seen = [sum(1 for _ in epoch) for epoch in (examples.shuffled(0), examples.shuffled(1), examples.in_order())]
    model.check_left_out(examples)

    assert seen == [198, 198, 198]
    named = [record.getMessage() for record in caplog.records if "left out: sha256" in record.getMessage()]
    assert sorted(text.rpartition(" ")[2] for text in named) == ["broken-1", "broken-2"]
    assert "2 of 200 images cannot be decoded" in caplog.text


def test_more_than_one_in_a_hundred_that_cannot_be_decoded_are_an_error(tmp_path):
    sources = ["broken-1", "broken-2", *["good"] * 100]
    examples = model.Examples(written(tmp_path, *["dog"] * 102, sources=sources), OfTwoLabels(), SMALL)
    assert sum(1 for _ in examples.in_order()) == 100

    with pytest.raises(model.UnreadableImages, match="2 of 102 images .* more than 1%: sha256 broken-1, broken-2"):
        model.check_left_out(examples)
