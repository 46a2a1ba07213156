"""What is sent of a picture: the file as it is, or of a large one a smaller JPEG."""

import io

from PIL import Image

from pipeline.data import images
from pipeline.device.input import decoded

# bytes that are sent as they are: base64 adds a third, and Vertex AI takes requests of 1.5 MB
# (https://cloud.google.com/vertex-ai/docs/quotas)
LARGEST = 1_000_000
LONGEST_SIDE = 1024  # pixels of a picture that had to be made smaller
QUALITY = 92


def for_server(picture: bytes) -> bytes:
    """Returns a PNG or JPEG of moderate size as it is, and of a larger one a JPEG on white; other bytes as they are."""
    if len(picture) <= LARGEST:
        return picture
    try:
        images.check(picture)
        shown = decoded(picture)
    except (images.BadImage, OSError):
        return picture  # the server says what it is
    if shown.mode == "RGBA":
        behind = Image.new("RGBA", shown.size, "white")
        shown = Image.alpha_composite(behind, shown)
    shown = shown.convert("RGB")
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    sent = io.BytesIO()
    shown.save(sent, "JPEG", quality=QUALITY)
    return sent.getvalue()
