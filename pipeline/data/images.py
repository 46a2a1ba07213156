"""Is this an image that training will be able to decode? Answered in microseconds, most often without decoding it."""

import re
import struct
import zlib
from collections.abc import Iterator

from pipeline.errors import SpanloopError

MOST_PIXELS = 50_000_000
MOST_BYTES = 64 * 2**20  # of a file; larger ones need not be read


class BadImage(SpanloopError):
    """Bytes that cannot become an example; the message is the reason, without a name."""


def check(data: bytes) -> None:
    """Raises BadImage unless `tf.io.decode_image` decodes `data`: JPEG or PNG, at most 50 megapixels.

    Stricter than a decoder: data that end early or whose checksums are wrong are refused even where a decoder would
    guess the rest.
    """
    if data.startswith(b"\xff\xd8\xff"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(data)
    elif data:
        raise BadImage("neither JPEG nor PNG")
    else:
        raise BadImage("empty file")


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise BadImage(f"{width} x {height} pixels: nothing to see")
    if width * height > MOST_PIXELS:
        raise BadImage(f"{width} x {height} pixels: more than {MOST_PIXELS // 1_000_000} megapixels")


# JPEG ----------------------------------------------------------------------------------------------------------------

# What stands before the scan of images that were decoded for real, whole and without its metadata. Encoders use few of
# the latter and most use few of the former, so for nearly all images no decode and not even a walk is needed.
_proven: set[bytes] = set()
_MOST_PROVEN, _LONGEST_PROVEN = 1000, 4096
_latest = b"\0"  # the proven header of the last image: the next one most often has the same

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start of frame: all that gives a size
_METADATA = frozenset({0xFE, *range(0xE1, 0xEE), 0xEF})  # comments and APPn; APP0 and APP14 change the colours
_NEXT_MARKER = re.compile(rb"\xff[^\0]")
_END = b"\xff\xd9"


def _check_jpeg(data: bytes) -> None:
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
    scan, tables, components = _jpeg_header(data)
    if data.find(_END, scan) < 0:
        raise BadImage("ends early: no end-of-image marker")
    last = _is_last(data, scan)
    if not last or tables not in _proven:
        _decode_jpeg(data, components)
    if last:
        _remember(tables)
        _remember(data[:scan])
    return data[:scan]


def _is_last(data: bytes, scan: int) -> bool:
    """True when the image ends with the scan.

    Nothing in such a scan can stop a decoder: broken codes only give other pixels. So whether the image decodes depends
    on what stands before the scan alone.
    """
    marker = _NEXT_MARKER.search(data, scan)
    return marker is not None and marker[0] == _END


def _remember(header: bytes) -> None:
    if len(_proven) >= _MOST_PROVEN:
        _proven.clear()
    if len(header) <= _LONGEST_PROVEN:
        _proven.add(header)


def _jpeg_header(data: bytes) -> tuple[int, bytes, int]:
    """Returns where the scan starts, all before it that decides how it is decoded, and the number of components."""
    at, parts, components = 2, [], 0
    try:
        while True:
            marker, size = data[at + 1], (data[at + 2] << 8) + data[at + 3]
            if data[at] != 0xFF:
                raise BadImage("broken JPEG header")
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            following = at + 2 + size
            if marker not in _METADATA:
                parts.append(data[at:following])
            if marker in _FRAMES:
                _check_size((data[at + 7] << 8) + data[at + 8], (data[at + 5] << 8) + data[at + 6])
                components = data[at + 9]
            elif marker == 0xDA:
                break
            at = following
    except IndexError:
        raise BadImage("ends early: no image data") from None
    if not components:
        raise BadImage("broken JPEG header")
    return following, b"".join(parts), components


def _decode_jpeg(data: bytes, components: int) -> None:
    import simplejpeg  # only here: it brings numpy, which most commands do without

    try:
        simplejpeg.decode_jpeg(data, "CMYK" if components == 4 else "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        raise BadImage(f"broken JPEG: {error}") from None


# PNG -----------------------------------------------------------------------------------------------------------------

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE = 1 << 20  # bytes inflated at a time, so that a bomb takes no memory


def _check_png(data: bytes) -> None:
    chunks = _png_chunks(data)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR" or len(header) != 13:
        raise BadImage("broken PNG header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BadImage("broken PNG header")
    _check_size(width, height)
    passes = _png_passes(width, height, depth * _CHANNELS[colour], bool(interlace))
    _check_rows(_inflated(_image_data(chunks, colour)), passes)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (kind, body) of each chunk to the end of the image, checksums verified."""
    view, at, kind = memoryview(data), 8, b""
    while kind != b"IEND":
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + size + 12 > len(data):
            raise BadImage("ends early: no end-of-image chunk")
        if zlib.crc32(view[at + 4 : at + 8 + size]) != int.from_bytes(view[at + 8 + size : at + 12 + size], "big"):
            raise BadImage(f"broken PNG: wrong checksum of chunk {ascii(kind)[2:-1]!r}")
        yield kind, view[at + 8 : at + 8 + size]
        at += 12 + size


def _image_data(chunks: Iterator[tuple[bytes, memoryview]], colour: int) -> Iterator[memoryview]:
    """Yields the bodies of IDAT; raises BadImage when chunks are missing, unknown or not in order."""
    palette = started = ended = False
    for kind, body in chunks:
        if kind == b"IDAT":
            if ended or (colour == 3 and not palette):
                raise BadImage("broken PNG: chunks are out of order")
            started = True
            yield body
            continue
        ended = started
        if kind == b"PLTE":
            if palette or started or colour in (0, 4) or len(body) % 3 or not 3 <= len(body) <= 768:
                raise BadImage("broken PNG: palette")
            palette = True
        elif kind != b"IEND" and (kind[:1].isupper() or not kind.isalpha()):
            raise BadImage(f"broken PNG: unknown chunk {ascii(kind)[2:-1]!r}")


def _inflated(bodies: Iterator[memoryview]) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    try:
        for body in bodies:
            while body and not inflate.eof:
                yield inflate.decompress(body, _PIECE)
                body = inflate.unconsumed_tail
    except zlib.error as error:
        raise BadImage(f"broken PNG: {error}") from None
    if not inflate.eof:
        raise BadImage("ends early: image data are incomplete")


def _png_passes(width: int, height: int, bits: int, interlaced: bool) -> list[tuple[int, int]]:
    """Returns (rows, bytes a row with its filter byte) of each pass over the image."""
    grids = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in grids]
    return [(rows, 1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0]


def _check_rows(pieces: Iterator[bytes], passes: list[tuple[int, int]]) -> None:
    """Raises BadImage unless the pieces make exactly these rows, each with a known filter."""
    passes = list(reversed(passes))
    rows, stride = passes.pop()
    ahead = 0  # bytes to the next filter byte
    for piece in pieces:
        while ahead < len(piece) and rows:
            filters = piece[ahead : ahead + rows * stride : stride]
            if max(filters) > 4:
                raise BadImage("broken PNG: unknown filter")
            ahead += len(filters) * stride
            rows -= len(filters)
            if not rows and passes:
                rows, stride = passes.pop()
        if ahead < len(piece):
            raise BadImage("broken PNG: more image data than its header says")
        ahead -= len(piece)
    if ahead or rows:
        raise BadImage("ends early: image data are incomplete")
