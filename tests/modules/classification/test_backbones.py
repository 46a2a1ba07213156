import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from modules.classification import backbones, model
from modules.classification.settings import SETTINGS


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_each_backbone_gives_a_probability_for_each_label(name):
    settings = dataclasses.replace(SETTINGS, backbone=name)
    images = np.random.default_rng(0).random(
        (2, settings.image_size, settings.image_size, settings.channels), np.float32
    )

    probabilities = model.build_model(settings, classes=5)(images).numpy()

    assert probabilities.shape == (2, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_backbone_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(
        ValueError, match="resnet18.*small_cnn, separable_cnn, mobilenet_v3, efficientnet_lite0, .*densenet121"
    ):
        model.build_model(dataclasses.replace(SETTINGS, backbone="resnet18"), classes=2)


def test_weights_that_cannot_be_downloaded_are_an_error_that_names_the_way_out(tmp_path):
    build = (
        "import dataclasses, keras; from modules.classification.backbones import BACKBONES;"
        "from modules.classification.settings import SETTINGS;"
        "settings = dataclasses.replace(SETTINGS, backbone='mobilenet_v3', pretrained=True);"
        "BACKBONES['mobilenet_v3'](keras.Input((32, 32, 3)), settings)"
    )
    nowhere = "http://127.0.0.1:9"  # nothing listens there, and nothing is kept in this KERAS_HOME
    environment = os.environ | {"https_proxy": nowhere, "HTTPS_PROXY": nowhere, "KERAS_HOME": str(tmp_path)}

    ended = subprocess.run([sys.executable, "-c", build], env=environment, capture_output=True, text=True)

    assert ended.returncode != 0
    message = ended.stderr.strip().splitlines()[-1]
    assert "WeightsUnavailable" in message and "mobilenet_v3" in message and "pretrained=False" in message
