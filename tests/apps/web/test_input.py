"""The page and pipeline/device/input.py make the same of a picture, within what docs/devices.md says."""

import base64
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.device.input import InputSpec, pixels
from tests.pictures import deep_grey, encoded, photograph, transparent


def with_profile() -> bytes:
    """A JPEG whose colour profile would change its colours, if anything followed it."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return encoded(photograph(200, 150), "JPEG", quality=95, icc_profile=profile)


# Largest difference of a channel, of 255 levels. A canvas keeps colours multiplied by their opacity, and rounded.
SAME, ROUNDED = 0.001, 1.0
PICTURES = {
    "png": (encoded(photograph(200, 150), "PNG"), SAME),
    "png-smaller-than-the-input": (encoded(photograph(20, 30), "PNG"), SAME),
    "png-of-one-pixel": (encoded(photograph(1, 1), "PNG"), SAME),
    "png-grey": (encoded(photograph(90, 120, "L"), "PNG"), SAME),
    "png-16-bit": (encoded(deep_grey(90, 120), "PNG"), SAME),
    "png-palette": (encoded(photograph(90, 120).quantize(64), "PNG"), SAME),
    "png-palette-transparent": (encoded(photograph(90, 120).quantize(64), "PNG", transparency=3), SAME),
    "png-transparent": (encoded(transparent(100, 80), "PNG"), ROUNDED),
    "png-clear": (encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"), SAME),
    "png-exif": (encoded(photograph(100, 70), "PNG", orientation=6), SAME),
    "png-in-strips": (encoded(photograph(1500, 1100), "PNG"), SAME),
    "jpeg": (encoded(photograph(200, 150), "JPEG", quality=90), SAME),
    "jpeg-full-colour": (encoded(photograph(200, 150), "JPEG", quality=90, subsampling=0), SAME),
    "jpeg-odd-sides": (encoded(photograph(333, 251), "JPEG"), SAME),
    "jpeg-progressive": (encoded(photograph(640, 480), "JPEG", progressive=True), SAME),
    "jpeg-grey": (encoded(photograph(100, 100, "L"), "JPEG"), SAME),
    "jpeg-cmyk": (encoded(photograph(100, 100, "CMYK"), "JPEG"), SAME),
    "jpeg-profile": (with_profile(), SAME),
    "jpeg-12-megapixels": (encoded(photograph(4000, 3000), "JPEG", orientation=6, quality=85), SAME),
    **{
        f"jpeg-orientation-{turn}": (encoded(photograph(120, 80), "JPEG", orientation=turn), SAME)
        for turn in range(2, 9)
    },
}


@pytest.fixture
def pixels_of(context, site, modules):
    """Runs the page's `pixels` on an encoded picture."""
    site.replaced["/input.js"] = modules("input")
    tab = context.new_page()
    tab.goto(site.url)

    def run(picture: bytes, spec: InputSpec) -> np.ndarray:
        site.replaced["/picture"] = picture
        found = tab.evaluate(
            """async (spec) => {
              const { pixels } = await import("/input.js");
              const found = await pixels(await (await fetch("/picture", { cache: "no-store" })).blob(), spec);
              const bytes = new Uint8Array(found.buffer);
              let text = "";
              for (const byte of bytes) text += String.fromCharCode(byte);
              return btoa(text);
            }""",
            json.loads(json.dumps(spec.to_json())),
        )
        return np.frombuffer(base64.b64decode(found), np.float32).reshape(spec.height, spec.width, spec.channels)

    return run


def test_the_page_and_python_see_the_same(pixels_of):
    differences = {}
    for name, (picture, most) in PICTURES.items():
        for spec in (InputSpec(64, 48, 3), InputSpec(32, 32, 1, background=(0, 51, 255))):
            far = float(np.abs(pixels_of(picture, spec) - pixels(picture, spec)).max() * 255)
            print(f"{name}, {spec.channels} channels: {far:.4f}")
            if far > most:
                differences[name] = far
    assert differences == {}
