"""Decoding in the graph, upright, on a background and without what is broken, against decoding alone.

The latter is `tf.io.decode_image` and an antialiased `tf.image.resize` of each image: what the model did before it knew
of orientations, transparency and broken images. Both see the same images in batches of the same size, turn by turn, and
the cheapest turn of each counts, in CPU seconds, so that what else the machine does disturbs both alike. Each kind of
image counts as much as any other, with as many images as take about a tenth of a second. A photograph of twelve
megapixels, which is decoded at a reduced scale, is shown and does not count: it would hide all others.
"""

import importlib
import io
import os
import sys
import time

import measure

sys.path.insert(0, str(measure.ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TURNS = 7
BATCH = 256  # as inference and training have it
MOST = 1.15
REDUCED = "4000 x 3000 (JPEG, EXIF)"


def main():
    import tensorflow as tf

    # as pipelines name it: a fork may have another task
    decode = importlib.import_module("modules.classification.decoding").decode
    settings = importlib.import_module("modules.classification.settings").SETTINGS
    side = settings.image_size

    def decode_one(image):
        pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
        pixels.set_shape([None, None, 3])
        return tf.image.resize(tf.cast(pixels, tf.float32), [side, side], antialias=True) / 255.0

    shape = tf.TensorSpec([side, side, 3], tf.float32)
    encoded = [tf.TensorSpec([None], tf.string)]
    graphs = {
        "now": tf.function(lambda images: decode(images, settings)[0], encoded, autograph=False),
        "before": tf.function(lambda images: tf.map_fn(decode_one, images, fn_output_signature=shape), encoded, False),
    }
    total = dict.fromkeys(graphs, 0.0)
    for name, images in kinds().items():
        batches = [tf.constant(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        costs = cheapest(graphs, batches)
        for graph, cost in costs.items():
            total[graph] += cost / costs["before"] if name != REDUCED else 0
        each = {graph: cost / len(images) * 1e6 for graph, cost in costs.items()}
        ratio = costs["now"] / costs["before"]
        print(f"{name:<34} {each['now']:8.0f} us an image, {each['before']:8.0f} before: {ratio:.2f} times", flush=True)
    measure.finish("decoding", round(total["now"], 3), round(total["before"], 3), "times before", MOST)


def cheapest(graphs: dict, batches: list) -> dict[str, float]:
    """Returns the CPU seconds of each graph's cheapest turn over all batches."""
    costs = {name: [] for name in graphs}
    for _ in range(1 + TURNS):
        for name, graph in graphs.items():
            start = time.process_time()
            for batch in batches:
                graph(batch)
            costs[name].append(time.process_time() - start)
    return {name: min(turns[1:]) for name, turns in costs.items()}


def kinds() -> dict[str, list[bytes]]:
    from PIL import Image

    from pipeline.data import digits

    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "digits (PNG)": [image for _, image in digits.images(digits.FIRST, limit=1024)],
        "48 x 48 (JPEG)": drawn(1024, (48, 48), "RGB", "JPEG"),
        "640 x 480 (JPEG, EXIF)": drawn(128, (640, 480), "RGB", "JPEG", exif=turned),
        "320 x 240 (PNG)": drawn(64, (320, 240), "RGB", "PNG"),
        "128 x 128 (PNG, alpha)": drawn(32, (128, 128), "RGBA", "PNG"),
        REDUCED: drawn(2, (4000, 3000), "RGB", "JPEG", exif=turned),
    }


def drawn(count: int, size: tuple[int, int], mode: str, format: str, **options) -> list[bytes]:
    """Draws clouds of colours, about as large in bytes as photographs of their size."""
    import numpy
    from PIL import Image

    draw, encoded = numpy.random.default_rng(0), []
    for _ in range(count):
        coarse = draw.integers(0, 256, (-(-size[1] // 8), -(-size[0] // 8), len(mode)), dtype="uint8")
        file = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, format, **options)
        encoded.append(file.getvalue())
    return encoded


if __name__ == "__main__":
    main()
