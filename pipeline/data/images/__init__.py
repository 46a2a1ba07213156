"""Is this an image that training will be able to decode? Answered in microseconds, most often without decoding it."""

from pipeline.data.images.formats import format_of
from pipeline.data.images.jpeg import check_jpeg
from pipeline.data.images.png import check_png, nearly_black, without_metadata
from pipeline.data.images.rules import MOST_BYTES, MOST_PIXELS, BadImage

__all__ = ["MOST_BYTES", "MOST_PIXELS", "BadImage", "check", "nearly_black", "without_metadata"]


def check(data: bytes) -> None:
    """Raises BadImage unless TensorFlow decodes `data`: JPEG or PNG, at most 50 megapixels.

    Stricter than a decoder: data that end early are refused even where a decoder would guess the rest. The verdict
    depends on `data` alone.
    """
    if data.startswith(b"\xff\xd8\xff"):
        check_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        check_png(data)
    elif data:
        raise BadImage(format_of(data).refusal)
    else:
        raise BadImage("empty file")
