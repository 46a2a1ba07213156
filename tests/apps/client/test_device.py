"""A device model answers for pictures, and says of other bytes why it does not."""

import struct
import zlib

import pytest

from apps.client.answers import BadPicture
from apps.client.device import OnDevice
from tests.conftest import jpeg
from tests.pipeline.conftest import plain


def test_a_picture_gets_a_label_with_the_probabilities_of_all(on_device):
    found = on_device.answer(plain(250))

    assert (found.label, found.model) == ("bright", "model-1") and found.confidence > 0.9 and found.seconds > 0
    assert set(found.probabilities) == {"bright", "dark"} and sum(found.probabilities.values()) == pytest.approx(1)


def huge_png() -> bytes:
    """A PNG of a few bytes that says of itself that it has 10,000 megapixels."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "empty"),
        (b"<svg/>", "JPEG|PNG|format"),
        (b"GIF89a" + bytes(50), "GIF"),
        (huge_png(), "side|megapixels"),
        (jpeg(1)[:100], "end|cut|incomplete|truncated"),
    ],
)
def test_what_is_no_picture_is_named(on_device, data, why):
    with pytest.raises(BadPicture, match=f"(?i){why}"):
        on_device.answer(data)


def test_a_model_with_another_number_of_labels_is_refused(bright_or_dark, described):
    with pytest.raises(ValueError, match="2 probabilities, for 3 labels"):
        OnDevice(
            str(bright_or_dark / "tflite"),
            model="model-1",
            labels=("a", "b", "c"),
            input=described.input.to_json(),
            threshold=None,
        )
