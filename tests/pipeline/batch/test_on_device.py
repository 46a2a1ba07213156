"""A device model on encoded images, prepared as an app prepares them."""

import pytest

from pipeline.batch.on_device import DeviceClassifier
from tests.pipeline.conftest import plain


def test_images_are_classified_in_their_order_and_named_by_the_models_labels(bright_or_dark):
    found = list(DeviceClassifier(str(bright_or_dark)).classify([plain(20), plain(250), plain(0)]))

    assert [of.label for of in found] == ["dark", "bright", "dark"]
    assert [of.confidence for of in found] == [max(of.probabilities) for of in found]
    assert sum(found[0].probabilities) == pytest.approx(1)


def test_what_is_no_image_has_no_classification(bright_or_dark):
    good, broken = DeviceClassifier(str(bright_or_dark)).classify([plain(250), b"no image"])

    assert good.label == "bright" and broken is None
