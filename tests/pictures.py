"""Pictures of all kinds that a decoder, EXIF and resizing may treat differently, made here."""

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
