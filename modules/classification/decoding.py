"""Decodes JPEG and PNG in TensorFlow as people see them: upright, transparent pixels on a background.

Also part of the exported model, so that it sees what training saw.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from modules.classification.orientation import SEARCHED, beginning, bytes_at, contains, orientations, upright
from modules.classification.settings import Settings

# Images are decoded one after another by a loop of which this many rounds run at a time: more of them cost memory.
_AT_A_TIME = 4
_SMALL_BYTES = 16_384  # of a file; of a larger JPEG it is worth while to look up its size in pixels
_SMALL_PIXELS = 2_000_000  # more of a JPEG are decoded at a half, a quarter or an eighth of their size
_BAND = 262_144  # pixels of a transparent image that are worked on at a time


def decode(images: tf.Tensor, settings: Settings) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes JPEG or PNG bytes [batch].

    Returns float32 images [batch, side, side, channels] in [0, 1] and bool [batch]: False, and black, where the bytes
    are no image.
    """
    return _traced(settings)(images)


@functools.cache  # tracing takes seconds, and one training does it a dozen times: Transform alone ten times
def _traced(settings: Settings) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda images: _decode(images, settings), input_signature=signature, autograph=False)


def _decode(images: tf.Tensor, settings: Settings) -> tuple[tf.Tensor, tf.Tensor]:
    signature = [tf.TensorSpec([], tf.string)]
    ways = [tf.function(way, signature, autograph=False) for way in _ways(settings)]  # each is traced once
    kinds = _kinds(images)
    pixels = tf.cond(
        tf.reduce_all(kinds == _PLAIN),
        lambda: _decode_together(images, ways[_PLAIN], settings),
        lambda: _decode_by_kind(images, kinds, ways, settings),
    )
    pixels, decoded = tf.cond(
        tf.shape(pixels)[0] == tf.shape(images)[0],
        lambda: (pixels, tf.ones_like(images, tf.bool)),
        lambda: _decode_each(images, kinds, ways, settings),
    )
    pixels = upright(pixels / 255.0, orientations(images))
    return (tf.image.rgb_to_grayscale(pixels) if settings.channels == 1 else pixels), decoded


_PLAIN, _LARGE_JPEG, _TRANSPARENT, _LARGE_TRANSPARENT, _DEEP = range(5)  # ways to decode an image


def _ways(settings: Settings) -> list[Callable[[tf.Tensor], tf.Tensor]]:
    """Returns a function for each way: from the bytes of an image to float32 RGB [side, side, 3] in [0, 255]."""
    side, background = settings.image_size, settings.background
    return [
        lambda image: _shrink(_jpeg(image), side),  # this operation decodes PNG, too
        lambda image: _large_jpeg(image, side),
        lambda image: _transparent(image, side, background),
        lambda image: _shrink(_opaque_in_bands(tf.io.decode_png(image, channels=4), background), side),
        lambda image: _shrink(_opaque_in_bands(_deep_png(image), background), side),
    ]


def _kinds(images: tf.Tensor) -> tf.Tensor:
    """Returns how to decode each of the images [batch] as int32 [batch], from their first bytes."""
    head = tf.cast(tf.io.decode_raw(images, tf.uint8, fixed_length=26), tf.int32)
    png, depth, colour = head[:, 0] == 0x89, head[:, 24], head[:, 25]

    def of_png() -> tf.Tensor:
        # colour types 4 and 6 have an alpha channel; 3 is a palette, which may have transparent colours
        transparent = (colour >= 3) | contains(beginning(images, png & (colour < 3)), "tRNS")
        width, height = (
            tf.cast(head[:, at] * 65536 + head[:, at + 1] * 256 + head[:, at + 2], tf.float32) for at in (17, 21)
        )
        large = width * height > _BAND
        return tf.where(
            depth == 16,
            _DEEP,
            tf.where(transparent, tf.where(large, _LARGE_TRANSPARENT, _TRANSPARENT), _PLAIN),
        )

    of_jpeg = tf.where(tf.strings.length(images) > _SMALL_BYTES, _LARGE_JPEG, _PLAIN)
    return tf.cond(tf.reduce_any(png), lambda: tf.where(png, of_png(), of_jpeg), lambda: of_jpeg)


def _decode_by_kind(images, kinds, ways, settings: Settings) -> tf.Tensor:
    """Decodes the images of each kind together, and puts them into the order in which they were; none if one fails."""
    places, parts = [], []
    for kind, way in enumerate(ways):
        which = tf.where(kinds == kind)[:, 0]
        places.append(tf.cast(which, tf.int32))
        parts.append(
            tf.cond(
                tf.size(which) > 0,
                lambda which=which, way=way: _decode_together(tf.gather(images, which), way, settings),
                lambda: _none(settings),
            )
        )
    whole = [tf.size(place) == tf.shape(part)[0] for place, part in zip(places, parts, strict=True)]
    return tf.cond(tf.reduce_all(whole), lambda: tf.dynamic_stitch(places, parts), lambda: _none(settings))


def _none(settings: Settings) -> tf.Tensor:
    return tf.zeros([0, settings.image_size, settings.image_size, 3])


def _decode_together(images, way, settings: Settings) -> tf.Tensor:
    """Decodes images [batch] in one way to float32 RGB [batch, side, side, 3]; none if one of them fails.

    An error ends a TensorFlow graph, but drops only an element of a dataset. So all of them are one element.
    """
    shape = tf.TensorSpec([settings.image_size, settings.image_size, 3], tf.float32)
    together = tf.data.Dataset.from_tensors(images).map(
        lambda images: tf.map_fn(way, images, parallel_iterations=_AT_A_TIME, fn_output_signature=shape)
    )
    none = tf.data.Dataset.from_tensors(_none(settings))
    return _only(together.ignore_errors().concatenate(none).take(1))


def _decode_each(images, kinds, ways, settings: Settings) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes images [batch], each as one element of a dataset; returns which could be decoded, too."""
    side, count = settings.image_size, tf.shape(images, tf.int64)[0]

    def numbered(number, image, kind):
        return number, tf.switch_case(kind, [functools.partial(way, image) for way in ways])

    good = tf.data.Dataset.from_tensor_slices((tf.range(count), images, kinds)).map(numbered).ignore_errors()
    # one more than there are, because a batch of none is no batch
    spare = tf.data.Dataset.from_tensors((count, tf.zeros([side, side, 3])))
    numbers, pixels = _only(good.concatenate(spare).batch(count + 1))
    pixels = tf.scatter_nd(numbers[:, tf.newaxis], pixels, tf.stack([count + 1, side, side, 3]))
    decoded = tf.scatter_nd(numbers[:, tf.newaxis], tf.ones_like(numbers), [count + 1])
    return pixels[:-1], decoded[:-1] > 0


def _only(dataset: tf.data.Dataset):
    """Returns the only element of a dataset."""
    options = tf.data.Options()
    # looking for ways to have it sooner takes longer than having it
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options).get_single_element()


def _shrink(image: tf.Tensor, side: int, channels: int = 3) -> tf.Tensor:
    """Resizes uint8 or float32 [height, width, channels] to float32 [side, side, channels]."""
    # Every pixel counts: a photograph of 4,000 pixels shrunk to 32 would be noise otherwise. This is what
    # tf.image.resize(antialias=True) does, in fewer operations, and without a copy as float32.
    scale = side / tf.cast(tf.shape(image)[:2], tf.float32)
    shrunk = tf.raw_ops.ScaleAndTranslate(
        images=tf.expand_dims(image, 0), size=[side, side], scale=scale, translation=[0.0, 0.0], kernel_type="triangle"
    )
    return tf.reshape(shrunk, [side, side, channels])


def _jpeg(image: tf.Tensor, ratio: int = 1) -> tf.Tensor:
    """Decodes a JPEG to uint8 RGB [height, width, 3] as browsers and Pillow do, to the last bit."""
    # TensorFlow's default is a less exact inverse cosine transform, which is no faster
    return tf.io.decode_jpeg(image, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _large_jpeg(image: tf.Tensor, side: int) -> tf.Tensor:
    """Decodes a JPEG at the smallest scale that leaves four times the pixels that are needed in each direction."""
    height_and_width = tf.io.extract_jpeg_shape(image)[:2]
    shorter = tf.reduce_min(height_and_width)
    large = tf.reduce_prod(tf.cast(height_and_width, tf.float32)) > _SMALL_PIXELS
    halvings = tf.reduce_sum(tf.cast(shorter >= tf.constant([2, 4, 8]) * 4 * side, tf.int32))

    def at(ratio: int):
        return lambda: _shrink(_jpeg(image, ratio), side)

    return tf.switch_case(tf.where(large, halvings, 0), [at(1), at(2), at(4), at(8)])


def _transparent(image: tf.Tensor, side: int, background: tuple[int, int, int]) -> tf.Tensor:
    """Decodes a PNG, shrinks it and puts it on a background; returns float32 RGB [side, side, 3] in [0, 255]."""
    # The background comes after shrinking, when there is little left of the image.
    shown = _shrink(_shown(tf.io.decode_png(image, channels=4), background), side, channels=4)
    return _on_background(shown, background)


def _shown(image: tf.Tensor, background: tuple[int, int, int]) -> tf.Tensor:
    """Returns how far uint8 RGBA [..., 4] differs from a background, times 255: float32 [..., 4].

    The last channel means nothing: to take channels apart at full size costs more than all that is done to them.
    """
    # one number is subtracted faster than one for each channel
    behind = float(background[0]) if len(set(background)) == 1 else tf.constant([*background, 0], tf.float32)
    return (tf.cast(image, tf.float32) - behind) * tf.cast(image[..., 3:], tf.float32)


def _on_background(shown: tf.Tensor, background: tuple[int, int, int]) -> tf.Tensor:
    """Returns float32 RGB [..., 3] in [0, 255] of what `_shown` returned, or of what was shrunk of that."""
    return shown[..., :3] * (1 / 255) + tf.constant(background, tf.float32)


def _opaque_in_bands(image: tf.Tensor, background: tuple[int, int, int]) -> tf.Tensor:
    """Puts uint8 RGBA [height, width, 4] on a background; returns uint8 RGB [height, width, 3].

    A part of the image at a time: a whole photograph as float32 takes a gigabyte.
    """
    flat = tf.reshape(image, [-1, 4])
    count = tf.shape(flat)[0]

    def rounded(pixels):
        return tf.cast(_on_background(_shown(pixels, background), background) + 0.5, tf.uint8)

    def band(start, bands):
        return start + _BAND, bands.write(start // _BAND, rounded(flat[start : start + _BAND]))

    bands = tf.TensorArray(tf.uint8, 0, dynamic_size=True, infer_shape=False, element_shape=[None, 3])
    _, bands = tf.while_loop(lambda start, _: start < count, band, [0, bands], parallel_iterations=1)
    return tf.reshape(bands.concat(), tf.concat([tf.shape(image)[:2], [3]], axis=0))


def _deep_png(image: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG of 16 bits to uint8 RGBA [height, width, 4].

    Its values use all 16 bits, unless its sBIT chunk names fewer and none is larger than these hold: some cameras and
    scanners write 12 bits as they are, which would be nearly black.
    """
    values = tf.io.decode_png(image, channels=4, dtype=tf.uint16)
    before = tf.strings.split(tf.strings.substr(image, 0, SEARCHED), "sBIT", maxsplit=1)
    at = tf.strings.length(before[0])
    # the chunk's length, its name, and the bits of its first channel
    chunk = bytes_at(image[tf.newaxis], at[tf.newaxis] - 4, 9)[0]
    named = (tf.size(before) > 1) & (tf.reduce_sum(chunk[:3]) == 0) & (chunk[8] >= 1) & (chunk[8] <= 16)
    bits = tf.where(named, chunk[8], 16)
    largest = tf.reduce_max(tf.cast(values[..., :3], tf.int32))
    shift = tf.where(largest < tf.bitwise.left_shift(1, bits), 16 - bits, 0)
    factor = tf.cast(tf.bitwise.left_shift(1, shift), tf.uint16)
    colours = tf.bitwise.right_shift(values[..., :3] * factor, tf.constant(8, tf.uint16))
    alpha = tf.bitwise.right_shift(values[..., 3:], tf.constant(8, tf.uint16))
    return tf.cast(tf.concat([colours, alpha], axis=-1), tf.uint8)
