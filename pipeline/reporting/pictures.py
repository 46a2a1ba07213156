"""Thumbnails of images, embedded in a page."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from pipeline.device.input import upright

LARGEST = 160  # pixels on the longer side: twice what a page shows, for sharp screens


@dataclass(frozen=True)
class Picture:
    """A data: URI and its size in pixels."""

    uri: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """True when it is drawn enlarged, with sharp pixels."""
        return max(self.width, self.height) <= 64


def picture(image: bytes) -> Picture | None:
    """Shrinks an encoded image to what a page needs. Returns None for one that Pillow cannot read."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            opened.draft("RGB", (LARGEST, LARGEST))  # a large JPEG is decoded at a fraction of its size
            opened.load()
            kind, shown = opened.format, _browser_mode(upright(opened))
        if max(shown.size) > LARGEST:
            shown = shown.convert("RGBA" if "A" in shown.mode else "RGB")
            shown.thumbnail((LARGEST, LARGEST))
        return Picture(_data_uri(shown, "JPEG" if kind == "JPEG" and max(shown.size) > 64 else "PNG"), *shown.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Pillow refuses some files that TensorFlow reads; a report omits their thumbnails.
        return None


def _browser_mode(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which a conversion would clip at 255
        return image.point(lambda value: value / 256).convert("L")
    return image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB")


def _data_uri(shown: Image.Image, kind: str) -> str:
    # Encoded again, so that no metadata of the file (location, thumbnail, comment) gets into a report.
    shown.info = {key: value for key, value in shown.info.items() if key == "transparency"}
    encoded = io.BytesIO()
    shown.save(encoded, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"
