"""The demo's images: real scans of handwritten digits (UCI, shipped with scikit-learn), as two cameras saw them.

Needs scikit-learn, Pillow and numpy, and imports them only when images are asked for.
"""

import io
import os
import random
from collections.abc import Iterator

FIRST = "first"  # bright digits on black, upright
CHANGED = "changed"  # dark digits on white, tilted, noisy
COUNTS = {FIRST: 1000, CHANGED: 797}  # no digit was seen by both
SIZE = 32  # pixels, as wide as high


def images(camera: str, skip: int = 0, limit: int | None = None, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields (`<label>/<name>.png`, PNG bytes, grey, 32 x 32) of one camera: at most `limit` after the first `skip`.

    `seed` decides tilt and noise of the changed camera, nothing else. An image depends on no other one.
    """
    import sklearn.datasets

    dataset = sklearn.datasets.load_digits()
    order = list(range(len(dataset.target)))
    random.Random(0).shuffle(order)  # the scans are sorted by writer, and both cameras shall see all of them
    mine = order[: COUNTS[FIRST]] if camera == FIRST else order[COUNTS[FIRST] :]
    for number in mine[skip:][:limit]:
        image = _scan(dataset.images[number])
        if camera == CHANGED:
            image = _seen_otherwise(image, [seed, number])
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        yield f"{dataset.target[number]}/digit-{number:04d}.png", encoded.getvalue()


def write(folder: str, camera: str, skip: int = 0, limit: int | None = None, seed: int = 0) -> int:
    """Writes what `images` yields to `folder`/<label>/<name>.png. Returns the number of images."""
    written = 0
    for name, image in images(camera, skip, limit, seed):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(image)
        written += 1
    return written


def _scan(pixels):
    """Turns a scan (float [8, 8] in [0, 16]) into a grey Pillow image with a margin that leaves room for a tilt."""
    import numpy
    from PIL import Image

    digit = Image.fromarray(numpy.uint8(pixels * 255 / 16)).resize((SIZE - 8, SIZE - 8), Image.Resampling.BICUBIC)
    image = Image.new("L", (SIZE, SIZE))
    image.paste(digit, (4, 4))
    return image


def _seen_otherwise(image, seed: list[int]):
    """Returns the Pillow image tilted by 15 to 35 degrees, inverted, with noise."""
    import numpy
    from PIL import Image

    chance = numpy.random.default_rng(seed)
    tilted = image.rotate(chance.uniform(15, 35), Image.Resampling.BICUBIC)
    noisy = 255 - numpy.asarray(tilted, numpy.float64) + chance.normal(0, 30, (SIZE, SIZE))
    return Image.fromarray(numpy.uint8(noisy.clip(0, 255)))
