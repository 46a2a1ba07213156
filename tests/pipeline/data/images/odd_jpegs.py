"""JPEG files that no encoder writes: every kind of frame, precision, number of components, sampling and size.

Run as a program it checks `count` of them from `seed` on and writes the numbers of those that pass as JSON: what
crashes the check crashes that process.
"""

import json
import random
import sys

FRAMES = [*range(0xC0, 0xD0)]
SIDES = (0, 1, 2, 7, 8, 9, 16, 17, 33, 64, 255, 500, 65_500, 65_501, 65_535)
# Huffman tables with one code of each length up to 8, for DC, and AC; enough for any coded data to mean something
LENGTHS = bytes([0, 1, 2, 2, 2, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0])


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def tables(draw: random.Random) -> bytes:
    quantization = b"".join(segment(0xDB, bytes([number]) + bytes([1 + number] * 64)) for number in range(4))
    symbols = bytes(range(sum(LENGTHS)))
    huffman = b"".join(
        segment(0xC4, bytes([kind + number]) + LENGTHS + symbols) for kind in (0, 16) for number in (0, 1)
    )
    return quantization + huffman + (segment(0xDD, b"\0\2") if draw.random() < 0.1 else b"")


def odd_jpeg(seed: int) -> bytes:
    """Returns a JPEG whose frame is drawn from all that there are, usual values more often than others."""
    draw = random.Random(seed)
    marker = draw.choice(FRAMES) if draw.random() < 0.7 else draw.choice([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])
    precision = 8 if draw.random() < 0.7 else draw.randrange(0, 20)
    components = draw.choice([1, 3, 4]) if draw.random() < 0.8 else draw.randrange(0, 12)
    width, height = (draw.choice(SIDES[1:11]) if draw.random() < 0.8 else draw.choice(SIDES) for _ in range(2))

    def sampling() -> int:
        return draw.randrange(1, 5) << 4 | draw.randrange(1, 5) if draw.random() < 0.9 else draw.randrange(256)

    factors = [0x11 if draw.random() < 0.5 else sampling() for _ in range(components)]
    parts = [bytes([number + 1, factor, draw.randrange(4)]) for number, factor in enumerate(factors)]
    frame = bytes([precision]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([components])
    in_scan = components if draw.random() < 0.8 else draw.randrange(0, components + 1)
    lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
    spectrum = bytes([draw.randrange(8), 0, 0]) if lossless else b"\0\0\0" if marker in (0xC2, 0xCA) else b"\0\x3f\0"
    if draw.random() < 0.05:
        spectrum = draw.randbytes(3)
    selected = b"".join(bytes([number + 1, draw.choice([0, 0x11])]) for number in range(in_scan))
    scan = segment(0xDA, bytes([in_scan]) + selected + spectrum)
    colours = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([draw.randrange(4)])) if draw.random() < 0.3 else b""
    coded = draw.randbytes(draw.choice([0, 10, 300, 3000])).replace(b"\xff", b"\xff\0")
    middle = tables(draw) + segment(marker, frame + b"".join(parts))
    return b"\xff\xd8" + colours + middle + (scan + coded) * draw.choice([1, 1, 1, 2, 5]) + b"\xff\xd9"


def lossless(side: int) -> bytes:
    """Returns a lossless JPEG (SOF3): decoded at an eighth of its size it is written past the end of the buffer."""
    frame = b"\x08" + side.to_bytes(2, "big") * 2 + b"\1\1\x11\0"
    scan = b"\1\1\0\1\0\0"
    return (
        b"\xff\xd8" + tables(random.Random(0)) + segment(0xC3, frame) + segment(0xDA, scan) + bytes(side) + b"\xff\xd9"
    )


def sampled(factors: tuple[int, ...]) -> bytes:
    """Returns a JPEG of 64 x 64 pixels of noise whose components have these sampling factors."""
    draw = random.Random(1)
    parts = b"".join(bytes([number + 1, factor, number]) for number, factor in enumerate(factors))
    frame = b"\x08\0\x40\0\x40" + bytes([len(factors)]) + parts
    selected = b"".join(bytes([number + 1, 0]) for number in range(len(factors)))
    scan = bytes([len(factors)]) + selected + b"\0\x3f\0"
    coded = draw.randbytes(3000).replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + tables(draw) + segment(0xC0, frame) + segment(0xDA, scan) + coded + b"\xff\xd9"


def main(seed: int, count: int) -> None:
    from pipeline.data import images

    passed = []
    for number in range(seed, seed + count):
        try:
            images.check(odd_jpeg(number))
            passed.append(number)
        except images.BadImage:
            continue
    print(json.dumps(passed))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
