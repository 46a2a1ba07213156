"""Checks JPEG files: TensorFlow will decode what passes. Most pass without being decoded.

Marker rules as libjpeg has them (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B): bytes between segments and
fill bytes are skipped, everything after the end-of-image marker is ignored.
"""

import re
from collections.abc import Iterator

from pipeline.data.images import decoder
from pipeline.data.images.rules import BadImage, check_size

# What stands before the scan of images that were decoded for real, whole and without its metadata. Encoders use few of
# the latter and most use few of the former, so for nearly all images no decode and not even a walk is needed.
_proven: set[bytes] = set()
_MOST_PROVEN, _LONGEST_PROVEN = 1000, 4096
_latest = b"\0"  # the proven header of the last image: the next one most often has the same

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start of frame: all that give a size
# Baseline, extended and progressive, Huffman or arithmetic coding. libjpeg-turbo writes lossless frames (C3) at their
# full size when it is asked for an eighth, past the end of the buffer; TensorFlow decodes none of the others.
_DECODED = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_METADATA = frozenset({0xFE, *range(0xE1, 0xEE), 0xEF})  # comments and APPn; APP0 and APP14 change the colours
# A marker that is no part of coded data: those have a zero after each FF, and restart markers.
_MARKER = re.compile(rb"\xff+([^\0\x01\xd0-\xd7\xff])")
_NEXT_MARKER = re.compile(rb"\xff[^\0\xd0-\xd7]")
_LONGEST_SIDE = 65_500  # of libjpeg; the format has 65,535
_MOST_SEGMENTS, _MOST_SCANS = 5_000, 100  # encoders write some ten of each; an attacker as many as fit


def check_jpeg(data: bytes) -> None:
    """Raises BadImage unless TensorFlow decodes `data` and they are complete.

    Whether an image passes depends on its own bytes alone: those before the scan decide, and they are decoded without
    the metadata once for all images that have the same.
    """
    global _latest
    if data.startswith(_latest) and _is_last(data, len(_latest)):
        return
    begin = data.find(b"\xff\xda")
    header = data[: begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")]
    if header not in _proven or not _is_last(data, len(header)):
        header = _prove(data)
    if header in _proven:
        _latest = header


def _prove(data: bytes) -> bytes:
    """Decodes an image, unless another one of the same kind was decoded before; returns all before its scan."""
    parts, frames, scans, scan, end = [_SOI], 0, 0, 0, 2
    for number, (marker, start, following) in enumerate(_segments(data)):
        if number == _MOST_SEGMENTS:
            raise BadImage(f"broken JPEG: more than {_MOST_SEGMENTS:,} segments")
        if scans:
            parts.append(data[end:start])  # coded data
        if marker in _FRAMES:
            _check_frame(marker, data[start:following])
            frames += 1
        elif marker == _SOS:
            scans += 1
            scan = scan or following
        if frames > 1 or scans > frames * _MOST_SCANS:
            raise BadImage("broken JPEG: more frames or scans than can be" if frames else "broken JPEG: no frame")
        if marker not in _METADATA:
            parts.append(data[start:following])
        if marker == _SOS and scans == 1 and _is_last(data, following):
            tables = b"".join(parts)
            if tables not in _proven:
                _decode(tables + data[following : data.index(_EOI, following) + 2])
                _remember(tables)
            _remember(data[:following])
            return data[:following]
        end = following
    if not scans:
        raise BadImage("ends early: no image data")
    _decode(b"".join(parts) + _EOI)
    return data[:scan]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, where its segment starts, what follows it) of each up to the end of the image."""
    at, scanned = 2, False
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise BadImage(f"ends early: no {'end-of-image marker' if scanned else 'image data'}")
        marker, at = found[1][0], found.end()
        if marker == _EOI[1]:
            return
        size = int.from_bytes(data[at : at + 2], "big")
        if marker == _SOI[1] or size < 2:
            raise BadImage("broken JPEG: a segment that cannot be")
        if at + size > len(data):
            raise BadImage("ends early: in the middle of a segment")
        yield marker, at - 2, at + size
        scanned = scanned or marker == _SOS
        at += size


def _check_frame(marker: int, segment: bytes) -> None:
    if len(segment) < 10:
        raise BadImage("broken JPEG: a frame that cannot be")
    precision, components = segment[4], segment[9]
    if marker not in _DECODED:
        kind = "lossless" if marker in (0xC3, 0xC7, 0xCB, 0xCF) else "hierarchical"
        raise BadImage(f"{kind} JPEG (SOF{marker - 0xC0}): save it as baseline or progressive JPEG, or as PNG")
    if precision != 8:
        raise BadImage(f"JPEG of {precision} bits: save it with 8 bits, or as PNG")
    if components not in (1, 3, 4):
        raise BadImage(f"JPEG of {components} colour components: grey has 1, colour 3, print (CMYK) 4")
    height, width = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
    check_size(width, height)
    if max(width, height) > _LONGEST_SIDE:
        raise BadImage(f"{width} x {height} pixels: a side of a JPEG is longer than {_LONGEST_SIDE:,}")


def _is_last(data: bytes, scan: int) -> bool:
    """True when the image ends with the scan.

    Nothing in such a scan can stop a decoder: broken codes only give other pixels. So whether the image decodes depends
    on what stands before the scan alone.
    """
    marker = _NEXT_MARKER.search(data, scan)
    return marker is not None and marker[0] == _EOI


def _remember(header: bytes) -> None:
    if len(_proven) >= _MOST_PROVEN:
        _proven.clear()
    if len(header) <= _LONGEST_PROVEN:
        _proven.add(header)


_FUNCTION = re.compile(r"^\w+\(\): *")  # of libjpeg, at the beginning of what it says


def _decode(data: bytes) -> None:
    try:
        decoder.ask(b"jpeg", data)
    except BadImage as error:
        raise BadImage(f"broken JPEG: {_FUNCTION.sub('', str(error))}") from None
