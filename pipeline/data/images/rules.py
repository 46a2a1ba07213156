"""What every image has to fulfil, of whatever format: shared by the checks of each."""

from pipeline.errors import SpanloopError

MOST_PIXELS = 50_000_000
MOST_SIDE = 1_000_000  # libpng, as TensorFlow builds it, refuses longer ones
MOST_BYTES = 64 * 2**20  # of a file; larger ones need not be read


class BadImage(SpanloopError):
    """Bytes that cannot become an example; the message is the reason, without a name."""


def check_size(width: int, height: int) -> None:
    """Raises BadImage for an image without pixels, with too many, or with too long a side."""
    size = f"{width} x {height} pixels"
    if not width or not height:
        raise BadImage(f"{size}: nothing to see")
    if max(width, height) > MOST_SIDE:
        raise BadImage(f"{size}: a side is longer than {MOST_SIDE:,}")
    if width * height > MOST_PIXELS:
        raise BadImage(f"{size}: more than {MOST_PIXELS // 1_000_000} megapixels")
