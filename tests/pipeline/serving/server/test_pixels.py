"""The size that an image says it has."""

import pytest

from pipeline.serving.server.pixels import pixels_of
from tests.conftest import encoded, noise


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(3, 5), (300, 200)])
def test_the_size_is_read_of_what_tensorflow_decodes(format, size):
    assert pixels_of(encoded(noise(1, "RGB", size), format)) == size[0] * size[1]


def test_a_progressive_jpeg_and_one_with_metadata_have_their_size():
    image = noise(1, "RGB", (40, 30))
    assert pixels_of(encoded(image, "JPEG", progressive=True)) == 1200
    assert pixels_of(encoded(image, "JPEG", comment=b"\xff\xc0" * 999, icc_profile=b"\xff\xc0\xff" * 30_000)) == 1200


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG", b"\xff\xd8", b"\xff\xd8\xff\xc0\0", b"\xff\xd8\xff\xff\xff", b"BM", b"GIF89a"]
)
def test_what_is_no_image_or_too_short_has_none(data):
    assert pixels_of(data) == 0


def test_a_bomb_is_recognised_by_its_header():
    png = bytearray(encoded(noise(1, "RGB", (1, 1)), "PNG"))
    png[16:24] = (1).to_bytes(4, "big") + (50_000_000).to_bytes(4, "big")
    assert pixels_of(bytes(png)) == 50_000_000
