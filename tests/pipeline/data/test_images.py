"""Whatever passes the check, TensorFlow decodes; and what is broken, cut off or too large does not pass."""

import base64
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator

import pytest

from pipeline.data import images
from pipeline.data.images import BadImage, decoder
from tests.conftest import encoded, noise
from tests.pipeline.data.images import odd_jpegs

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


def wrong_checksum(kind: bytes, body: bytes) -> bytes:
    """A PNG with a chunk whose checksum is that of something else."""
    damaged = chunk(kind, body)[:-1] + bytes([chunk(kind, body)[-1] ^ 1])
    whole = png(header(2, 2), (b"IDAT", TWO_BY_TWO), (b"IEND", b""))
    return whole[:33] + damaged + whole[33:]


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


ZEROS = zlib.compress(bytes(7_000_000), 9)
TWO_BY_TWO = zlib.compress(bytes(6))
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
        (b"no picture", "^neither JPEG nor PNG$"),
        (b"GIF89a" + bytes(100), "^GIF, neither JPEG nor PNG: `import-images DIR --convert` makes"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "^WebP.*--convert` makes"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "^AVIF.*--convert` makes"),
        (b"\0\0\0\x1cftypheic" + bytes(20), "^HEIC.*--convert` makes"),
        (b"BM" + bytes(100), "^BMP.*--convert` makes"),
        (b"II*\0" + bytes(100), "^TIFF.*--convert` makes"),
        (b"<!DOCTYPE html><title>404</title>", "^web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "^Git LFS pointer"),
        (
            png(header(1_000_001, 1), (b"IDAT", zlib.compress(bytes(1_000_002))), (b"IEND", b"")),
            "longer than 1,000,000",
        ),
        (png(header(1, 50_000_000), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")), "longer than 1,000,000"),
        (png(header(2, 2), *[(b"teSt", b"")] * 30_000, (b"IEND", b"")), "more than 20,000 chunks"),
        (
            png(header(2, 2), *[(b"zTXt", b"a\0\0" + ZEROS)] * 2, (b"IDAT", TWO_BY_TWO), (b"IEND", b"")),
            "metadata inflate",
        ),
        (odd_jpegs.lossless(8), r"lossless JPEG \(SOF3\)"),
        (png(header(20_000, 20_000), (b"IDAT", zlib.compress(bytes(20_001))), (b"IEND", b"")), "megapixels"),
        (png(header(0, 9), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")), "nothing to see"),
        (
            b"\xff\xd8\xff\xc0\0\x0b\x08\x4e\x20\x4e\x20\1\1\x11\0" + b"\xff\xda\0\x08\1\1\0\0\x3f\0\xff\xd9",
            "megapixels",
        ),
        (JPEGS["RGB {}"][:-2], "ends early"),
        (PNGS["RGB"][:-12], "ends early"),
        (PNGS["RGB"][:60] + b"x" + PNGS["RGB"][61:], "wrong checksum"),
        (wrong_checksum(b"tRNS", b"\0\1"), "wrong checksum of chunk 'tRNS'"),
    ],
)
def test_the_reason_is_said(data, reason):
    with pytest.raises(BadImage, match=reason):
        images.check(data)


def segments_of(data: bytes) -> tuple[bytes, bytes]:
    """Cuts a JPEG after its first segment."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at], data[at:]


@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"gAMA"])
def test_a_wrong_checksum_where_nothing_is_used_is_no_reason(kind, decodes):
    data = wrong_checksum(kind, b"Comment\0nothing that changes a pixel")

    images.check(data)
    assert decodes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"between".join(segments_of(JPEGS["RGB {}"])),
        JPEGS["RGB {'progressive': True}"].replace(b"\xff\xc4", b"\0\0\xff\xff\xc4", 3),
        b"\xff\xe2\0\x0fICC_PROFILE\0\7".join(segments_of(JPEGS["RGB {}"])),
        odd_jpegs.sampled((0x41, 0x11, 0x11)),
        odd_jpegs.sampled((0x42, 0x11, 0x11)),
    ],
    ids=["between segments", "in a progressive one", "a bad ICC marker", "4:1:1", "4:1:0"],
)
def test_what_is_odd_and_yet_decoded_passes(data, decodes):
    images.check(data)

    assert decodes(data)


def test_the_verdict_does_not_depend_on_what_was_seen_before():
    """Each of two kinds, one with broken codes and odd metadata, first and second in a process of its own."""
    whole = JPEGS["RGB {}"]
    scan = whole.index(b"\xff\xda") + 14
    odd = b"\xff\xe2\0\x0fICC_PROFILE\0\7".join(segments_of(whole[:scan])) + b"\x5a" * 9 + b"\xff\xd9"
    program = (
        "import base64, sys; from pipeline.data import images\n"
        "for text in sys.argv[1:]:\n"
        "    try: images.check(base64.b64decode(text)); print('passes')\n"
        "    except images.BadImage as bad: print(bad)"
    )

    def verdicts(*files: bytes) -> list[str]:
        arguments = [base64.b64encode(data).decode() for data in files]
        ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        return ended.stdout.splitlines()

    assert verdicts(whole, odd) == verdicts(odd, whole)[::-1] == ["passes", "passes"]


def test_no_header_of_a_jpeg_crashes_the_check_and_tensorflow_decodes_what_passes():
    import tensorflow as tf

    ended = subprocess.run(
        [sys.executable, "-m", odd_jpegs.__name__, "0", "4000"], capture_output=True, text=True, check=True
    )
    passed = json.loads(ended.stdout)

    assert len(passed) > 300
    for number in passed:
        tf.io.decode_image(odd_jpegs.odd_jpeg(number), channels=3)


def test_the_decoder_sees_no_credentials(monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "a secret")
    decoder._stop()
    with pytest.raises(BadImage):
        decoder.ask(b"jpeg", b"no JPEG")
    variables = pathlib.Path(f"/proc/{decoder._child.pid}/environ").read_bytes()
    assert b"PATH=" in variables and b"GITHUB_TOKEN" not in variables


def test_a_crash_of_the_decoder_costs_one_image():
    images.check(JPEGS["CMYK {'progressive': True}"])
    os.kill(decoder._child.pid, signal.SIGSEGV)

    with pytest.raises(BadImage, match="crashes the decoder"):
        images.check(JPEGS["CMYK {'progressive': True}"])

    images.check(JPEGS["CMYK {'optimize': True}"])


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
