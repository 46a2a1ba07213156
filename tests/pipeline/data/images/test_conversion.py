"""Images of other formats become PNGs: the same pixels, upright, or a reason why not."""

import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.data import images
from pipeline.data.images import BadImage, decoder
from pipeline.data.images.conversion import convert, original_of
from tests.conftest import encoded, jpeg, noise

SIZE = (33, 21)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image if image.mode == "I;16" else image.convert("RGBA"))


def transparent(format: str) -> bytes:
    image = noise(1, "RGBA", SIZE)
    image.putalpha(noise(2, "L", SIZE))
    return encoded(image, format)


def deep(highest: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, highest + 1, (21, 33), dtype=np.uint16)
    return Image.fromarray(values)


FILES = {
    "WebP": encoded(noise(1, "RGB", SIZE), "WEBP"),
    "WebP, lossless": encoded(noise(1, "RGB", SIZE), "WEBP", lossless=True),
    "WebP, transparent": transparent("WEBP"),
    "AVIF": encoded(noise(1, "RGB", SIZE), "AVIF"),
    "AVIF, transparent": transparent("AVIF"),
    "GIF": encoded(noise(1, "P", SIZE), "GIF"),
    "GIF, transparent": encoded(noise(1, "P", SIZE), "GIF", transparency=3),
    "BMP": encoded(noise(1, "RGB", SIZE), "BMP"),
    "BMP, two colours": encoded(noise(1, "1", SIZE), "BMP"),
    "TIFF": encoded(noise(1, "RGB", SIZE), "TIFF"),
    "TIFF, packed": encoded(noise(1, "RGB", SIZE), "TIFF", compression="tiff_lzw"),
    "TIFF, transparent": transparent("TIFF"),
    "TIFF, grey, 16 bits": encoded(deep(65535), "TIFF"),
    "TIFF, grey, 16 bits, other byte order": encoded(deep(65535), "TIFF", big_endian=True),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_png_has_the_same_pixels_and_names_its_original(data):
    with pytest.raises(BadImage, match="`import-images DIR --convert` makes a PNG of it"):
        images.check(data)

    png = convert(data)

    images.check(png)
    assert opened(png).format == "PNG"
    np.testing.assert_array_equal(pixels(opened(png)), pixels(opened(data)))
    assert original_of(png) == hashlib.sha256(data).hexdigest()
    assert convert(data) == png


@pytest.mark.parametrize("data", [jpeg(1), encoded(noise(1, "RGB", SIZE), "PNG"), b"no image"])
def test_other_files_stay_as_they_are(data):
    assert convert(data) is data
    assert original_of(data) == ""


@pytest.mark.parametrize("format", ["WEBP", "GIF", "TIFF"])
def test_of_several_frames_the_first_is_taken(format):
    first, second = noise(1, "RGB", SIZE), noise(2, "RGB", SIZE)
    data = encoded(first, format, save_all=True, append_images=[second], duration=100)

    np.testing.assert_array_equal(pixels(opened(convert(data))), pixels(opened(data)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["WEBP", "AVIF", "TIFF"])
def test_an_image_is_turned_upright_once(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(1, "RGB", SIZE), format, exif=exif)

    png = convert(data)

    seen = opened(data)
    seen.load()
    np.testing.assert_array_equal(pixels(opened(png)), pixels(ImageOps.exif_transpose(seen)))
    assert opened(png).size == (SIZE if orientation < 5 else SIZE[::-1])
    assert opened(png).getexif().get(0x0112, 1) == 1


def tiff(bits: int, photometric: int, samples: int, values: bytes) -> bytes:
    """An uncompressed TIFF of 2 x 2 pixels, of kinds that Pillow does not write."""
    tags = [(256, 2), (257, 2), (258, bits), (259, 1), (262, photometric), (273, 200), (277, samples), (278, 2)]
    tags.append((279, len(values)))
    if samples > 1:  # three numbers do not fit into a tag
        tags[2] = (258, None)
    entries = b"".join(
        struct.pack("<HHII", tag, 3, samples, 180) if value is None else struct.pack("<HHIHH", tag, 3, 1, value, 0)
        for tag, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(180, b"\0") + struct.pack("<3H", bits, bits, bits).ljust(20, b"\0") + values


def test_a_tiff_of_twelve_bits_says_so_as_png():
    png = convert(tiff(12, 1, 1, bytes.fromhex("fff800123456")))

    images.check(png)
    assert np.asarray(opened(png)).tolist() == [[0xFFF, 0x800], [0x123, 0x456]]
    assert b"\0\0\0\1sBIT\x0c" in png


REFUSED = {
    "CMYK": (encoded(noise(1, "CMYK", SIZE), "TIFF"), "no CMYK"),
    "floating-point": (encoded(noise(1, "F", SIZE), "TIFF"), "floating-point numbers"),
    "32 bits": (encoded(noise(1, "I", SIZE), "TIFF"), "have 32 bits or signs"),
    "16 bits a colour": (tiff(16, 2, 3, bytes(24)), "have 16 bits, of which 8 would be left"),
    "0 is white": (tiff(16, 0, 1, bytes(8)), "have 16 bits, and 0 is white"),
    "cut off": (FILES["WebP"][:-40], "WebP that cannot be converted"),
    "too large": (
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 9000, 9000, 1, 1, 0, 0, 0, 0, 0, 0),
        "megapixels",
    ),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(16), "pillow-heif|broken"),
}


@pytest.mark.parametrize("data, reason", REFUSED.values(), ids=REFUSED)
def test_what_a_png_cannot_hold_is_refused_with_the_reason(data, reason):
    with pytest.raises(BadImage, match=reason):
        convert(data)


def test_a_decoder_that_takes_too_long_costs_one_image(monkeypatch):
    monkeypatch.setattr(decoder, "MOST_SECONDS", 0)

    with pytest.raises(BadImage, match="GIF that cannot be converted: takes longer than"):
        convert(encoded(noise(1, "P", (4000, 3000)), "GIF"))

    monkeypatch.undo()
    assert opened(convert(FILES["GIF"])).format == "PNG"


def test_a_chunk_that_only_looks_like_an_original_is_none():
    png = convert(FILES["GIF"])

    assert original_of(png.replace(original_of(png).encode(), b"x" * 64)) == ""
