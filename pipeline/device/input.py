"""What an app computes from a picture before the device model sees it. `pixels` is the reference implementation.

An app in any language does the same, in this order:

1. Decode the JPEG or PNG to 8 bits a channel, red, green and blue, without converting its colour profile. Of a PNG with
   16 bits a channel the upper 8 count. In a browser: `createImageBitmap(blob, {colorSpaceConversion: "none",
   premultiplyAlpha: "none"})`, drawn on a canvas of the picture's own size, read by `getImageData`.
2. Put transparent pixels on `background`: background + (colour - background) * alpha / 255, not rounded.
3. Turn it upright as its EXIF orientation says (1 to 8), by EXIF alone. A browser does this in step 1.
4. Resize it to height x width with antialiasing, both directions independently and without keeping the proportions: out
   of n pixels in a row, output pixel i of m is the weighted mean of input pixels k with weight
   max(0, 1 - |k + 0.5 - (i + 0.5) * n / m| / max(1, n / m)), in floating point, not rounded. `drawImage` of a canvas
   uses another filter, which differs from one browser to the next: do not resize with it.
5. Where the model takes one channel: 0.2989 red + 0.5870 green + 0.1140 blue.
6. Divide by 255: float32 [1, height, width, channels] in [0, 1].

Training does the same in TensorFlow: to float32's precision, but for JPEGs of more than two megapixels, which it
reads at a fraction of their size, and large transparent PNGs, which it rounds before it resizes: less than one of 255
levels.
"""

import contextlib
import functools
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image

RANGE = (0.0, 1.0)
RESIZE = "bilinear-antialias"  # step 4's name in device.json


@dataclass(frozen=True)
class InputSpec:
    """The `input` of device.json: what the device model takes."""

    height: int
    width: int
    channels: int  # 3: colour, 1: grey
    background: tuple[int, int, int] = (255, 255, 255)  # red, green, blue behind transparent pixels

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "InputSpec":
        """Reads the `input` of a device.json. Raises ValueError when an app that follows this file cannot make it."""
        batch, height, width, channels = given["shape"]
        found = cls(height, width, channels, tuple(given["background"]))
        if batch != 1 or found.to_json() != dict(given) | {"background": list(found.background)}:
            raise ValueError(f"input {dict(given)} is not {found.to_json()}")
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": [1, self.height, self.width, self.channels],
            "dtype": "float32",
            "range": list(RANGE),
            "resize": RESIZE,
            "background": list(self.background),
        }


def pixels(image: bytes, spec: InputSpec) -> np.ndarray:
    """Converts PNG or JPEG bytes to float32 [height, width, channels] in [0, 1]. Raises OSError for what is neither."""
    shown = decoded(image)
    colours = np.asarray(shown.convert("RGB") if shown.mode not in ("RGB", "RGBA") else shown)
    if colours.shape[2] == 4:
        opacity = colours[..., 3:].astype(np.float32) / 255
        behind = np.array(spec.background, np.float32)
        colours = behind + (colours[..., :3] - behind) * opacity
    resized = resize(colours, spec.height, spec.width) / 255
    return resized @ _GREY if spec.channels == 1 else resized


_GREY = np.array([[0.2989], [0.5870], [0.1140]], np.float32)  # ITU-R BT.601, as tf.image.rgb_to_grayscale rounds it


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes [H, W, channels] of any type to float32 [height, width, channels], antialiased; step 4 above."""
    if image.shape[:2] == (height, width):  # each pixel alone has weight
        return image.astype(np.float32)
    down, across = _weights(image.shape[0], height), _weights(image.shape[1], width)
    # one channel at a time: a photograph as float32 takes four times its memory
    shrunk = [(down @ image[..., channel].astype(np.float32)) @ across.T for channel in range(image.shape[2])]
    return np.stack(shrunk, axis=-1)


@functools.lru_cache(maxsize=64)
def _weights(pixels_in: int, pixels_out: int) -> np.ndarray:
    """Returns what each input pixel adds to each output pixel: float32 [out, in], rows that sum to 1."""
    scale = pixels_in / pixels_out
    centres = (np.arange(pixels_out)[:, np.newaxis] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(pixels_in) + 0.5 - centres) / max(1, scale))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def decoded(image: bytes) -> Image.Image:
    """Decodes an image upright, as RGB, as RGBA where it may be transparent, or in another mode of 8 bits.

    Raises OSError for what is neither JPEG nor PNG.
    """
    try:
        with Image.open(io.BytesIO(image), formats=("JPEG", "PNG")) as opened:
            opened.load()  # a PNG may have its EXIF data behind its pixels
            shown = upright(opened)
            if shown.mode.startswith("I"):  # 16 bits of grey, which a conversion would clip at 255
                return Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8))
            return shown.convert("RGBA") if shown.has_transparency_data else shown
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"not a JPEG or PNG that can be decoded: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """Turns an image as its EXIF data say: by these alone, as models and browsers do, while Pillow also reads XMP."""
    if "exif" not in image.info:
        return image
    exif = Image.Exif()
    with contextlib.suppress(SyntaxError, struct.error):  # data that are none
        exif.load(image.info["exif"])
    turn = _TURNS.get(exif.get(ExifTags.Base.Orientation))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
