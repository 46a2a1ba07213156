"""Whatever passes the check, TensorFlow decodes; and what is broken, cut off or too large does not pass."""

import random
import struct
import zlib
from collections.abc import Iterator

import pytest

from pipeline.data import images
from pipeline.data.images import BadImage
from tests.conftest import encoded, noise

THUMBNAIL = encoded(noise(1, "RGB", (16, 16)), "JPEG")
EXIF = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def raw_png(colour: int, depth: int, interlace: int) -> bytes:
    """A PNG of 13 x 9 pixels of noise, as the specification has it and hardly any encoder writes it."""
    draw = random.Random(colour * 100 + depth * 2 + interlace)
    columns = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth
    grids = ADAM7 if interlace else [(0, 0, 1, 1)]
    rows = b""
    for x, y, dx, dy in grids:
        width, height = -(-(13 - x) // dx), -(-(9 - y) // dy)
        for _ in range(height if width > 0 else 0):
            rows += bytes([draw.randrange(5), *(draw.randrange(256) for _ in range((width * columns + 7) // 8))])
    palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    packed = zlib.compress(rows)
    halves = [(b"IDAT", packed[:20]), (b"IDAT", packed[20:])]
    return png(header(13, 9, depth, colour, interlace), *palette, *halves, (b"IEND", b""))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

JPEGS = {
    f"{mode} {options}": encoded(noise(2, mode, (33, 21)), "JPEG", **options)
    for mode in ("L", "RGB", "CMYK")
    for options in (
        {},
        {"progressive": True},
        {"optimize": True},
        {"quality": 30},
        {"restart_marker_blocks": 2},
        {"exif": EXIF, "comment": b"seen"},
    )
} | {"with a thumbnail": encoded(noise(3, "RGB", (40, 30)), "JPEG", exif=b"Exif\0\0" + THUMBNAIL)}
PNGS = (
    {mode: encoded(noise(4, mode, (33, 21)), "PNG") for mode in ("1", "L", "RGB", "RGBA", "P", "LA")}
    | {"with transparency": encoded(noise(5, "P", (33, 21)), "PNG", transparency=3)}
    | {
        f"colour {colour}, {depth} bits, {'' if interlace else 'not '}interlaced": raw_png(colour, depth, interlace)
        for colour, depths in DEPTHS.items()
        for depth in depths
        for interlace in (0, 1)
    }
)


@pytest.fixture(scope="module")
def decodes():
    import tensorflow as tf

    def decode(data: bytes) -> bool:
        try:
            tf.io.decode_image(data)
            return True
        except tf.errors.InvalidArgumentError:
            return False

    return decode


def passes(data: bytes) -> bool:
    try:
        images.check(data)
        return True
    except BadImage:
        return False


@pytest.mark.parametrize("data", [*JPEGS.values(), *PNGS.values()], ids=[*JPEGS, *PNGS])
def test_every_usual_kind_of_image_passes(data, decodes):
    images.check(data)

    assert decodes(data)
    assert passes(data + b"what some cameras append")


@pytest.mark.parametrize("data", [*JPEGS.values(), *PNGS.values()], ids=[*JPEGS, *PNGS])
def test_wherever_an_image_is_cut_off_it_does_not_pass(data):
    images.check(data)  # its header is known to be good now
    passed = [cut for cut in range(len(data)) if passes(data[:cut])]

    assert not passed


def broken(draw: random.Random, data: bytes) -> bytes:
    """Damages an image in one of the ways in which files get damaged."""
    at, length = draw.randrange(len(data)), draw.randrange(1, 60)
    until = min(at + length, len(data))
    damage = draw.randrange(7)
    if damage == 0:
        return data[:at]
    if damage == 1:
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if damage == 2:
        return data[:at] + data[until:]
    if damage == 3:
        return data[:at] + draw.randbytes(length) + data[at:]
    if damage == 4:
        return data[:at] + bytes(until - at) + data[until:]
    if damage == 5:
        marker = draw.choice(b"\xc0\xc2\xc4\xc9\xcc\xd0\xd8\xd9\xda\xdb\xdc\xdd\xe1\xfe\xff\x01")
        return data[:at] + bytes([255, marker]) + data[at:]
    return data[:at] + b"\xff\xd9"


def rebuilt(draw: random.Random, data: bytes) -> bytes:
    """Damages a PNG inside its chunks, whose checksums are right again afterwards."""
    parts = chunks(data)
    at, other = draw.randrange(len(parts)), draw.randrange(len(parts))
    kind, body = parts[at]
    damage = draw.randrange(6)
    if damage == 0:
        del parts[at]
    elif damage == 1:
        parts[at], parts[other] = parts[other], parts[at]
    elif damage == 2:
        parts.insert(at, parts[other])
    elif damage == 3:
        position = draw.randrange(len(body) + 1)
        parts[at] = kind, body[:position] + draw.randbytes(1) + body[position + draw.randrange(2) :]
    elif damage == 4:
        kinds = [
            b"tRNS",
            b"gAMA",
            b"iCCP",
            b"bKGD",
            b"tEXt",
            b"sBIT",
            b"PLTE",
            b"IEND",
            b"IDAT",
            b"ABCD",
            b"a\0cD",
            b"acTL",
        ]
        parts.insert(
            draw.randrange(len(parts) + 1), (draw.choice(kinds), draw.randbytes(draw.choice([0, 1, 4, 6, 9, 768])))
        )
    else:
        packed = b"".join(body for kind, body in parts if kind == b"IDAT")
        rows = bytearray(zlib.decompress(packed))
        rows[draw.randrange(len(rows))] = draw.randrange(256)
        rest = [part for part in parts if part[0] != b"IDAT"]
        ended = draw.choice([rows, rows[:-1], rows + b"\0"])
        parts = [*rest[:-1], (b"IDAT", zlib.compress(bytes(ended))), rest[-1]]
    return png(*parts)


def damaged(seed: int, count: int) -> Iterator[bytes]:
    draw = random.Random(seed)
    jpegs, pngs = list(JPEGS.values()), list(PNGS.values())
    for _ in range(count):
        yield broken(draw, draw.choice(jpegs))
        yield broken(draw, draw.choice(pngs))
        yield rebuilt(draw, draw.choice(pngs))


def test_whatever_passes_tensorflow_decodes(decodes):
    passed = [data for data in damaged(seed=7, count=3000) if passes(data)]

    assert len(passed) > 500
    assert [data for data in passed if not decodes(data)] == []


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty file"),
        (b"no picture", "neither JPEG nor PNG"),
        (b"GIF89a" + bytes(100), "neither JPEG nor PNG"),
        (png(header(20_000, 20_000), (b"IDAT", zlib.compress(bytes(20_001))), (b"IEND", b"")), "megapixels"),
        (png(header(0, 9), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")), "nothing to see"),
        (
            b"\xff\xd8\xff\xc0\0\x0b\x08\x4e\x20\x4e\x20\1\1\x11\0" + b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
            "megapixels",
        ),
        (JPEGS["RGB {}"][:-2], "ends early"),
        (PNGS["RGB"][:-12], "ends early"),
        (PNGS["RGB"][:60] + b"x" + PNGS["RGB"][61:], "wrong checksum"),
    ],
)
def test_the_reason_is_said(data, reason):
    with pytest.raises(BadImage, match=reason):
        images.check(data)


def test_an_image_that_inflates_to_more_than_it_says_takes_no_memory():
    import tracemalloc

    bomb = png(header(100, 100), (b"IDAT", zlib.compress(bytes(300_000_000), 9)), (b"IEND", b""))
    tracemalloc.start()
    with pytest.raises(BadImage, match="more image data"):
        images.check(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image():
    data = JPEGS["with a thumbnail"]
    cut = data[: data.rindex(b"\xff\xda") + 20]

    assert b"\xff\xd9" in cut
    with pytest.raises(BadImage, match="ends early"):
        images.check(cut)
