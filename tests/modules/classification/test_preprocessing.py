import io

import numpy as np
import tensorflow as tf
from PIL import Image

from modules.classification.decoding import decode
from modules.classification.settings import SETTINGS

SIDE = SETTINGS.image_size


def encoded(pixels: np.ndarray, format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def test_images_of_any_kind_become_squares_between_0_and_1():
    generator = np.random.default_rng(0)
    grey = encoded(generator.integers(0, 256, (8, 8), np.uint8), "PNG")
    colour = encoded(generator.integers(0, 256, (300, 200, 3), np.uint8), "JPEG")
    transparent = encoded(generator.integers(0, 256, (64, 65, 4), np.uint8), "PNG")

    pixels, _ = decode(tf.constant([grey, colour, transparent]), SETTINGS)

    assert pixels.shape == (3, SIDE, SIDE, SETTINGS.channels)
    assert pixels.dtype == tf.float32
    assert 0 <= float(tf.reduce_min(pixels)) and float(tf.reduce_max(pixels)) <= 1


def test_an_image_of_the_right_size_keeps_its_pixels():
    values = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)

    pixels, _ = decode(tf.constant([encoded(values, "PNG")]), SETTINGS)

    np.testing.assert_allclose(pixels[0], values / 255.0, atol=1e-6)


def test_a_shrunk_photograph_is_averaged_not_sampled():
    stripes = np.zeros((SIDE * 8, SIDE * 8, 3), np.uint8)
    stripes[::2] = 255  # finer than the result can show, so the right result is grey

    pixels, _ = decode(tf.constant([encoded(stripes, "PNG")]), SETTINGS)

    np.testing.assert_allclose(pixels, 0.5, atol=0.05)
