"""A picture is sent as it is, and a large one smaller."""

import io

import pytest
from PIL import Image

from apps.client.pictures import LARGEST, for_server
from tests.conftest import encoded, jpeg, noise


def large(mode: str, format: str, **options: object) -> bytes:
    """A picture of more than a megabyte, 1600 x 800."""
    data = encoded(Image.effect_noise((1600, 800), 90).convert(mode), format, **options)
    assert len(data) > LARGEST
    return data


def test_a_small_picture_is_sent_as_it_is():
    assert for_server(jpeg(1)) == jpeg(1)


@pytest.mark.parametrize(
    "picture, size",
    [
        (large("RGB", "JPEG", quality=98), (1024, 512)),
        (large("RGBA", "PNG"), (1024, 512)),
        (
            large(
                "RGB",
                "JPEG",
                quality=98,
                exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
            ),
            (512, 1024),
        ),
    ],
    ids=["JPEG", "PNG", "turned by EXIF"],
)
def test_a_large_one_is_sent_upright_at_1024_pixels(picture, size):
    sent = for_server(picture)

    assert len(sent) < LARGEST
    with Image.open(io.BytesIO(sent)) as opened:
        assert (opened.format, opened.size) == ("JPEG", size)


def test_transparent_parts_become_white():
    clear = Image.effect_noise((1600, 1600), 90).convert("RGBA")
    clear.putalpha(Image.effect_noise((1600, 1600), 90).point(lambda value: 0))

    with Image.open(io.BytesIO(for_server(encoded(clear, "PNG", compress_level=0)))) as opened:
        assert opened.getpixel((5, 5)) == (255, 255, 255)


def test_what_is_no_picture_is_left_to_the_server():
    bmp = encoded(noise(1, "RGB", (1200, 1200)), "BMP")

    assert for_server(bmp) == bmp
