"""The page and pipeline/device/input.py make the same of a picture, within what docs/devices.md says."""

import base64
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.device.input import InputSpec, pixels
from tests.pictures import encoded, photograph, pictures

# Largest difference of a channel, of 255 levels. A canvas keeps colours multiplied by their opacity, and rounded.
SAME = 0.001
ROUNDED = {"png-transparent": 1.0}


def what_browsers_treat_differently() -> dict[str, bytes]:
    """Pictures by name. Anything that followed the profile would change the colours of the last."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return {
        "png-clear": encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"),
        "png-in-strips": encoded(photograph(1500, 1100), "PNG"),
        "jpeg-full-colour": encoded(photograph(200, 150), "JPEG", quality=90, subsampling=0),
        "jpeg-odd-sides": encoded(photograph(333, 251), "JPEG"),
        "jpeg-12-megapixels": encoded(photograph(4000, 3000), "JPEG", orientation=6, quality=85),
        "jpeg-profile": encoded(photograph(200, 150), "JPEG", quality=95, icc_profile=profile),
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
    for name, picture in (pictures() | what_browsers_treat_differently()).items():
        for spec in (InputSpec(64, 48, 3), InputSpec(32, 32, 1, background=(0, 51, 255))):
            far = float(np.abs(pixels_of(picture, spec) - pixels(picture, spec)).max() * 255)
            print(f"{name}, {spec.channels} channels: {far:.4f}")
            if far > ROUNDED.get(name, SAME):
                differences[name] = far
    assert differences == {}
