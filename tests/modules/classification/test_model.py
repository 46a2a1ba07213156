import dataclasses

import numpy as np
import pytest

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
