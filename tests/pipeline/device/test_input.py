"""Training's graph and an app's path make the same of a picture: one test compares them, the others state the rule."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modules.classification.decoding import decode
from modules.classification.settings import DEVICE
from pipeline.device.input import InputSpec, pixels, resize
from tests.pictures import encoded, photograph, pictures, transparent

SIDE = 64

# Largest difference of a channel, of 255 levels: of float32 alone, and where training rounds or reads less of a file.
SAME, NEARLY = 0.001, 1.0


@pytest.mark.parametrize("channels", [3, 1])
def test_training_and_an_app_see_the_same(channels):
    settings = dataclasses.replace(DEVICE, image_size=SIDE, channels=channels)
    in_training = tf.function(lambda images: decode(images, settings), autograph=False)
    large = {
        "png-transparent-large": encoded(transparent(700, 500), "PNG"),
        "jpeg-of-a-camera": encoded(photograph(2400, 1800), "JPEG", orientation=6),
    }
    images = pictures() | large
    trained, decoded = in_training(tf.constant(list(images.values())))
    assert decoded.numpy().all()
    spec = InputSpec(SIDE, SIDE, channels)

    differences = {
        name: np.abs(pixels(image, spec) - expected).max() * 255
        for (name, image), expected in zip(images.items(), trained.numpy(), strict=True)
    }
    assert {name: far for name, far in differences.items() if far > (NEARLY if name in large else SAME)} == {}


def test_resizing_is_the_weighted_mean_that_the_rule_names():
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)

    resized = resize(image, 3, 16)

    def weight(k: int, i: int, n: int, m: int) -> float:
        return max(0, 1 - abs(k + 0.5 - (i + 0.5) * n / m) / max(1, n / m))

    for y, x in itertools.product(range(3), range(16)):
        weights = np.outer([weight(k, y, 7, 3) for k in range(7)], [weight(k, x, 11, 16) for k in range(11)])
        expected = (image * weights[..., np.newaxis]).sum(axis=(0, 1)) / weights.sum()
        np.testing.assert_allclose(resized[y, x], expected, rtol=1e-5)


def test_a_turned_jpeg_is_the_upright_one():
    upright = photograph(80, 60)
    lying = upright.transpose(Image.Transpose.ROTATE_90)  # orientation 6 turns it back
    spec = InputSpec(SIDE, SIDE, 3)

    np.testing.assert_allclose(
        pixels(encoded(lying, "PNG", orientation=6), spec), pixels(encoded(upright, "PNG"), spec), atol=1e-6
    )


def test_transparent_pixels_show_the_background():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))

    found = pixels(encoded(clear, "PNG"), InputSpec(2, 2, 3, background=(0, 51, 255)))

    np.testing.assert_allclose(found, np.broadcast_to([0, 0.2, 1], (2, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded(photograph(9, 9), "GIF"), encoded(photograph(9, 9), "PNG")[:60]]
)
def test_what_cannot_be_decoded_is_an_error(data):
    with pytest.raises(OSError):
        pixels(data, InputSpec(8, 8, 3))


def test_an_input_that_an_app_cannot_make_is_refused():
    known = InputSpec(64, 48, 3).to_json()
    assert InputSpec.from_json(known) == InputSpec(64, 48, 3)

    for field, value in {"range": [-1, 1], "resize": "nearest", "dtype": "uint8", "shape": [-1, 64, 48, 3]}.items():
        with pytest.raises(ValueError):
            InputSpec.from_json(known | {field: value})
