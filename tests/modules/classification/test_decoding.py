import dataclasses
import functools
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from modules.classification import decoding
from modules.classification.settings import SETTINGS

SIDE = SETTINGS.image_size
SEVERAL = dataclasses.replace(SETTINGS, background=(10, 200, 90))


def file(image: Image.Image, format: str, **options) -> bytes:
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


def drawn(mode: str, width: int = SIDE, height: int = SIDE, seed: int = 0) -> Image.Image:
    """A picture of a few large squares of random colours: JPEG changes it little."""
    bands = {"1": 1, "L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, bands), np.uint8)
    values = np.kron(values, np.ones((-(-height // 4), -(-width // 4), 1), np.uint8))[:height, :width]
    return Image.fromarray(values[..., 0] if bands == 1 else values, None if mode != "CMYK" else "CMYK").convert(mode)


@functools.cache
def graph(settings):
    """The decoding as a graph, as a pipeline and an exported model have it."""
    encoded = tf.TensorSpec([None], tf.string)
    return tf.function(lambda images: decoding.decode(images, settings), [encoded], autograph=False)


def decoded(*images: bytes, settings=SETTINGS) -> np.ndarray:
    """Pixels from 0 to 255 of images that all have to be decoded."""
    pixels, good = graph(settings)(tf.constant(images))
    assert good.numpy().all()
    return pixels.numpy() * 255


def seen(image: bytes, background=(255, 255, 255)) -> np.ndarray:
    """What a person sees of an image of the right size: upright, on a background."""
    with Image.open(io.BytesIO(image)) as opened:
        shown = ImageOps.exif_transpose(opened).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", shown.size, background), shown).convert("RGB"))


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF data with a few tags before the orientation, and a thumbnail's list of tags that says otherwise."""
    tags = [(0x010F, 2, 2, b"a\0\0\0"), (0x0112, 3, 1, struct.pack(order + "HH", orientation, 0))]
    first = struct.pack(order + "H", len(tags)) + b"".join(
        struct.pack(order + "HHI", *tag[:3]) + tag[3] for tag in tags
    )
    other = struct.pack(order + "HHHI", 1, 0x0112, 3, 1) + struct.pack(order + "HHI", 2, 0, 0)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + start + first + struct.pack(order + "I", 8 + len(first) + 4) + other


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_each_orientation_is_turned_upright_as_pillow_does(format, order):
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    images = [file(drawn("RGB"), format, exif=exif(number, order), **options) for number in range(1, 9)]

    np.testing.assert_allclose(decoded(*images), [seen(image) for image in images], atol=2)


def test_orientation_is_found_behind_other_segments_and_nowhere_else():
    turned = file(drawn("RGB"), "JPEG", exif=exif(6))
    at = turned.index(b"\xff\xe1")
    behind = turned[:at] + b"\xff\xe2\0\x10Exif\0\0nothing!" + b"stray\xff" + turned[at:]
    only_named = file(drawn("RGB"), "JPEG", comment=exif(6))
    plain = file(drawn("RGB"), "JPEG")

    pixels = decoded(turned, behind, only_named, plain)

    np.testing.assert_array_equal(pixels[0], pixels[1])
    np.testing.assert_array_equal(pixels[2], pixels[3])
    assert np.abs(pixels[0] - pixels[3]).max() > 50


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_exif_data_that_end_anywhere_do_no_harm(cut):
    whole = exif(6)[:cut]
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(whole) + 2) + whole + file(drawn("RGB"), "JPEG")[2:]

    assert decoded(data).shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
@pytest.mark.parametrize("settings", [SETTINGS, SEVERAL], ids=["white", "green"])
def test_what_is_transparent_shows_the_background_as_with_pillow(mode, settings):
    options = {"transparency": 7} if mode == "P" else {"transparency": 0} if mode == "L" else {}
    image = drawn("RGB").quantize(16) if mode == "P" else drawn(mode)
    if mode == "L":
        image = image.point(lambda value: 0 if value < 128 else value)
    data = file(image, "PNG", **options)

    np.testing.assert_allclose(decoded(data, settings=settings)[0], seen(data, settings.background), atol=1)


def test_a_large_transparent_image_is_what_a_small_one_is():
    data = file(drawn("RGBA", SIDE * 20, SIDE * 30), "PNG")

    np.testing.assert_allclose(decoded(data)[0, 4::8, 4::8], seen(data)[120::240, 80::160], atol=1)


def test_printed_colours_become_those_of_a_screen_with_any_number_of_channels():
    data = file(drawn("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as opened:
        colours, grey = opened.convert("RGB"), opened.convert("RGB").convert("L")

    np.testing.assert_allclose(decoded(data)[0], colours, atol=3)
    in_grey = decoded(data, settings=dataclasses.replace(SETTINGS, channels=1))
    np.testing.assert_allclose(in_grey[0, ..., 0], grey, atol=3)


def deep_png(values: np.ndarray, bits: int | None) -> bytes:
    """A PNG of 16 bits a value, with an sBIT chunk if `bits` are named."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    named = chunk(b"sBIT", bytes([bits])) if bits else b""
    header = struct.pack(">IIBBBBB", *values.shape[::-1], 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + named
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "bits, stored, factor",
    [(12, 12, 1 / 16), (None, 16, 1 / 256), (12, 16, 1 / 256)],
    ids=["12 bits as they are", "16 bits", "12 bits scaled as the specification asks"],
)
def test_16_bits_are_scaled_by_what_they_hold(bits, stored, factor):
    values = np.random.default_rng(0).integers(0, 2**stored, (SIDE, SIDE), np.uint16)
    values[0, 0] = 2**stored - 1

    pixels = decoded(deep_png(values, bits))

    np.testing.assert_allclose(pixels[0, ..., 0], values * factor, atol=1)


def test_a_broken_image_costs_itself_and_no_other():
    good = [file(drawn("RGB", seed=number), "PNG") for number in range(5)]
    mixed = [b"no picture", good[0], file(drawn("RGBA"), "PNG")[:70], *good[1:], b""]

    pixels, found = graph(SETTINGS)(tf.constant(mixed))

    assert found.numpy().tolist() == [False, True, False, True, True, True, True, False]
    np.testing.assert_allclose(pixels.numpy()[found.numpy()] * 255, [seen(image) for image in good], atol=1)
    assert not pixels.numpy()[~found.numpy()].any()


def test_nothing_but_broken_images_are_all_named():
    pixels, found = graph(SETTINGS)(tf.constant([b"no", b"picture"]))

    assert found.numpy().tolist() == [False, False]
    assert pixels.shape == (2, SIDE, SIDE, 3)


def test_an_empty_batch_stays_empty():
    pixels, found = graph(SETTINGS)(tf.constant([], tf.string))

    assert pixels.shape == (0, SIDE, SIDE, 3) and found.shape == (0,)


def test_a_large_photograph_decoded_at_a_reduced_scale_looks_the_same():
    large = np.asarray(drawn("RGB", 1600, 2000))
    noisy = np.clip(large + np.random.default_rng(3).normal(0, 20, large.shape), 0, 255).astype(np.uint8)
    data = file(Image.fromarray(noisy), "JPEG", quality=95)

    whole = tf.image.resize(tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32), [SIDE, SIDE], antialias=True)

    np.testing.assert_allclose(decoded(data)[0], whole, atol=4)
