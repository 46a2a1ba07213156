"""Which way up an image is, read from its EXIF data in TensorFlow, and turning it.

EXIF is a TIFF header and one list of tags (https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E,
4.6.2). JPEG has it in a segment (APP1), PNG in a chunk (eXIf, https://www.w3.org/TR/png-3/#eXIf).
"""

import numpy as np
import tensorflow as tf

SEARCHED = 65_536  # bytes at the beginning of a file in which its EXIF data have to begin
_MOST_STEPS = 1_000  # segments, chunks and stray bytes before the EXIF data
_MOST_TAGS = 24  # of the list, which is sorted: no more than ten tags come before this one


def orientations(images: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of encoded images [batch] as int32 [batch]: 1 to 8, 1 where there is none."""
    png = bytes_at(images, tf.zeros_like(images, tf.int32), 1)[:, 0] == 0x89
    mentioned = contains(beginning(images, ~png), "Exif\0\0") | contains(beginning(images, png), "eXIf")
    return tf.cond(
        tf.reduce_any(mentioned), lambda: _read(images, mentioned), lambda: tf.ones_like(mentioned, tf.int32)
    )


def upright(images: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns square images [batch, side, side, channels] as their orientations [batch] say, once for all."""
    _, side, _, channels = images.shape
    lying = np.arange(side * side, dtype=np.int32).reshape(side, side)  # numbers of the pixels
    turned = [lying, lying[:, ::-1], lying[::-1, ::-1], lying[::-1]]  # of orientations 1 to 4
    turned += [lying.T, lying.T[:, ::-1], lying.T[::-1, ::-1], lying.T[::-1]]

    def gathered() -> tf.Tensor:
        numbers = tf.gather(np.stack(turned).reshape(8, -1), orientation - 1)
        pixels = tf.gather(tf.reshape(images, [-1, side * side, channels]), numbers, batch_dims=1)
        return tf.reshape(pixels, [-1, side, side, channels])

    return tf.cond(tf.reduce_any(orientation > 1), gathered, lambda: images)


def beginning(images: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of encoded images [batch], in which is searched, and "" of those that are not wanted."""
    return tf.strings.substr(images, tf.zeros_like(wanted, tf.int32), tf.where(wanted, SEARCHED, 0))


def contains(texts: tf.Tensor, literal: str) -> tf.Tensor:
    """Returns whether each of the byte strings [batch] contains a literal."""
    # A search for one literal takes no longer than a copy of the text; a pattern of several is fifty times slower.
    without = tf.strings.regex_replace(texts, literal, "", replace_global=False)
    return tf.strings.length(without) < tf.strings.length(texts)


def bytes_at(texts: tf.Tensor, position: tf.Tensor, count: int) -> tf.Tensor:
    """Returns `count` bytes of each text from a position on as int32 [batch, count]; 0 beyond the text's end."""
    inside = tf.clip_by_value(position, 0, tf.strings.length(texts))
    found = tf.io.decode_raw(
        tf.strings.substr(texts, inside, tf.fill(tf.shape(inside), count)), tf.uint8, fixed_length=count
    )
    return tf.cast(found, tf.int32)


def _number(parts: tf.Tensor) -> tf.Tensor:
    """Returns bytes [..., n] as one big-endian number each; four of them may make it negative."""
    return sum(parts[..., -place - 1] * 256**place for place in range(parts.shape[-1]))


def _read(images: tf.Tensor, mentioned: tf.Tensor) -> tf.Tensor:
    start = _exif_start(images, mentioned)
    little = bytes_at(images, start, 1)[:, 0] == ord("I")

    def number(parts: tf.Tensor) -> tf.Tensor:  # in the byte order of the image
        order = tf.reshape(little, [-1] + [1] * (len(parts.shape) - 2))
        return tf.where(order, _number(tf.reverse(parts, [-1])), _number(parts))

    offset = number(bytes_at(images, start + 4, 4))
    tags = bytes_at(images, start + tf.clip_by_value(offset, 0, 2**24), 2 + 12 * _MOST_TAGS)
    entries = tf.reshape(tags[:, 2:], [-1, _MOST_TAGS, 12])
    listed = tf.range(_MOST_TAGS) < number(tags[:, :2])[:, tf.newaxis]
    short = (number(entries[..., :2]) == 0x0112) & (number(entries[..., 2:4]) == 3) & listed
    value = tf.reduce_max(tf.where(short, number(entries[..., 8:10]), 0), axis=1)
    return tf.where((start > 0) & (value >= 1) & (value <= 8), value, 1)


def _exif_start(images: tf.Tensor, mentioned: tf.Tensor) -> tf.Tensor:
    """Returns where the TIFF header of each image's EXIF data begins as int32 [batch], 0 where there is none.

    Goes from segment to segment, or chunk to chunk, of all images at once: what looks like EXIF data elsewhere, in a
    thumbnail or a text, is none.
    """
    png = bytes_at(images, tf.zeros_like(mentioned, tf.int32), 1)[:, 0] == 0x89
    length = tf.strings.length(images)

    def step(at, found, looking):
        head = bytes_at(images, at, 10)
        word = _number(head[:, :4])
        kind = _number(head[:, 4:8])
        # a chunk: four bytes of length, four of kind, the body, four of checksum
        is_chunk = png & (kind == int.from_bytes(b"eXIf", "big"))
        end_of_png = png & ((kind == int.from_bytes(b"IEND", "big")) | (word < 0))
        # a segment: FF, its marker, two bytes of length that count themselves; anything else is skipped by the byte
        marker = tf.where(head[:, 0] == 0xFF, head[:, 1], 0)
        stray = (marker == 0) | (marker == 0xFF) | (marker == 1)
        exif = tf.reduce_all(head[:, 4:] == list(b"Exif\0\0"), axis=1)
        is_segment = ~png & (marker == 0xE1) & exif
        end_of_jpeg = ~png & ((marker == 0xDA) | (marker == 0xD9))
        found = tf.where(looking & is_chunk, at + 8, tf.where(looking & is_segment, at + 10, found))
        size = tf.where(png, 12 + tf.clip_by_value(word, 0, 2**28), tf.where(stray, 1, 2 + _number(head[:, 2:4])))
        looking = looking & ~(is_chunk | end_of_png | is_segment | end_of_jpeg) & (at + size < length)
        return tf.where(looking, at + size, at), found, looking

    at, found = tf.where(png, 8, 2), tf.zeros_like(length)
    return tf.while_loop(
        lambda at, found, looking: tf.reduce_any(looking),
        step,
        [at, found, mentioned],
        maximum_iterations=_MOST_STEPS,
    )[1]
