import base64
import io

import pytest
from PIL import ExifTags, Image, ImageChops, ImageOps

from pipeline.reporting.pictures import LARGEST, picture


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_a_tiny_picture_keeps_its_pixels():
    image = Image.frombytes("L", (4, 2), bytes(range(0, 160, 20)))

    made = picture(encoded(image, "PNG"))

    assert (made.width, made.height, made.tiny) == (4, 2, True)
    assert shown(made.uri).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_large_png_of_any_kind_is_shrunk(mode):
    made = picture(encoded(Image.new(mode, (900, 300)), "PNG"))

    assert (made.width, made.height, made.tiny) == (LARGEST, 53, False)
    assert shown(made.uri).size == (LARGEST, 53)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_large_jpeg_stays_small_in_bytes(mode):
    made = picture(encoded(Image.effect_noise((2000, 2000), 90).convert(mode), "JPEG"))

    assert made.uri.startswith("data:image/jpeg;base64,") and len(made.uri) < 20_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright(kind, orientation):
    image = Image.new("RGB", (400, 200), "blue")
    image.paste("red", (0, 0, 200, 100))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(image, kind, exif=exif)

    made = shown(picture(data).uri).convert("RGB")

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).resize(made.size)
    extremes = ImageChops.difference(made, upright).resize((4, 4)).getextrema()
    assert all(largest <= 30 for _, largest in extremes)


def test_sixteen_bits_of_grey_are_not_washed_out():
    image = Image.new("I;16", (4, 4), 32768)

    assert abs(shown(picture(encoded(image, "PNG")).uri).convert("L").getpixel((0, 0)) - 128) <= 1


def test_what_else_lies_in_a_file_stays_out():
    jpeg = encoded(Image.new("RGB", (200, 200)), "JPEG", comment=b"Jane, 12 Elm Street", exif=b"Exif\0\0GPS 52N 13E")

    data = base64.b64decode(picture(jpeg).uri.partition("base64,")[2])

    assert b"Elm Street" not in data and b"GPS" not in data


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_what_cannot_be_shown_is_none(data):
    assert picture(data) is None
