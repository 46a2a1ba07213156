"""Pictures of all kinds that a decoder, EXIF and resizing may treat differently, made here."""

import functools
import io

import numpy as np
from PIL import Image


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Coarse and fine structure, edges and a gradient: what resizing and JPEG treat differently if anything."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    channels = [
        127 + 100 * np.sin(40 * x * (1 + channel) + 7 * y) * np.cos(25 * y) + 28 * (((x * 9).astype(int) + channel) % 2)
        for channel in range(3)
    ]
    return Image.fromarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, orientation: int = 1, **options) -> bytes:
    out = io.BytesIO()
    if orientation > 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    image.save(out, kind, **options)
    return out.getvalue()


def transparent(width: int, height: int) -> Image.Image:
    image = photograph(width, height, "RGBA")
    image.putalpha(photograph(width, height, "L"))
    return image


def deep_grey(width: int, height: int) -> Image.Image:
    values = np.asarray(photograph(width, height, "L")).astype(np.uint16)
    return Image.fromarray(values * 257)


@functools.cache
def pictures() -> dict[str, bytes]:
    """Pictures of the usual kinds: {name: PNG or JPEG}."""
    turned = {
        f"jpeg-orientation-{turn}": encoded(photograph(120, 80), "JPEG", orientation=turn) for turn in range(2, 9)
    }
    return turned | {
        "png": encoded(photograph(200, 150), "PNG"),
        "png-smaller-than-the-input": encoded(photograph(20, 30), "PNG"),
        "png-of-one-pixel": encoded(photograph(1, 1), "PNG"),
        "png-grey": encoded(photograph(90, 120, "L"), "PNG"),
        "png-16-bit": encoded(deep_grey(90, 120), "PNG"),
        "png-palette": encoded(photograph(90, 120).quantize(64), "PNG"),
        "png-palette-transparent": encoded(photograph(90, 120).quantize(64), "PNG", transparency=3),
        "png-transparent": encoded(transparent(100, 80), "PNG"),
        "png-exif": encoded(photograph(100, 70), "PNG", orientation=6),
        "jpeg": encoded(photograph(200, 150), "JPEG", quality=90),
        "jpeg-progressive": encoded(photograph(640, 480), "JPEG", progressive=True),
        "jpeg-grey": encoded(photograph(100, 100, "L"), "JPEG"),
        "jpeg-cmyk": encoded(photograph(100, 100, "CMYK"), "JPEG"),
    }
