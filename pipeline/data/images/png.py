"""Checks PNG files: TensorFlow will decode what passes (https://www.w3.org/TR/png-3/)."""

import contextlib
import struct
import zlib
from collections.abc import Iterator

from pipeline.data.images import decoder
from pipeline.data.images.rules import BadImage, check_size

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE = 1 << 20  # bytes inflated at a time, so that a bomb takes no memory
_MOST_CHUNKS = 20_000  # the largest file has 16,000 of 4 kB, and encoders write larger ones
_USED = frozenset({b"tRNS", b"eXIf", b"sBIT"})  # chunks that a decoder can do without, but preprocessing reads
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PACKED = frozenset({b"iCCP", b"zTXt", b"iTXt"})  # TensorFlow inflates each of them, up to 8 MB
_MOST_METADATA = 8 * 2**20  # bytes, of all of them together when they are inflated
_DEFLATE_RATIO = 1032  # no deflated data inflate to more than this multiple (https://zlib.net/zlib_tech.html)


def check_png(data: bytes) -> None:
    """Raises BadImage unless TensorFlow decodes `data`: complete, and with right checksums of all that is used."""
    chunks = _png_chunks(data)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR" or len(header) != 13:
        raise BadImage("broken PNG header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BadImage("broken PNG header")
    check_size(width, height)
    passes = _png_passes(width, height, depth * _CHANNELS[colour], bool(interlace))
    _check_rows(_inflated(_image_data(chunks, colour)), passes)


def nearly_black(data: bytes) -> str:
    """Says why an accepted image looks nearly black, "" for all others: a PNG of 16 bits that uses 12 or fewer.

    One that says in its sBIT chunk how many it uses is brightened when it is decoded.
    """
    if not data.startswith(b"\x89PNG") or data[24] != 16 or any(kind == b"sBIT" for kind, _ in _png_chunks(data)):
        return ""
    try:
        values = int(decoder.ask(b"most", without_metadata(data)))
    except BadImage:  # not one that Pillow reads
        return ""
    if not 0 < values < 4096:
        return ""
    return f"looks nearly black: 16-bit values up to {values}; scale them, or add an sBIT chunk"


def without_metadata(data: bytes) -> bytes:
    """Returns an accepted PNG with the chunks that its pixels need: Pillow fails on others that TensorFlow skips."""
    parts = [data[:8]]
    for kind, body in _png_chunks(data):
        if kind in _PIXELS:
            parts += [len(body).to_bytes(4, "big"), kind, body, zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")]
    return b"".join(parts)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (kind, body) of each chunk to the end of the image, checksums verified of those that are used."""
    view, at = memoryview(data), 8
    for _ in range(_MOST_CHUNKS):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + size + 12 > len(data):
            raise BadImage("ends early: no end-of-image chunk")
        if kind[:1].isupper() or kind in _USED:
            if zlib.crc32(view[at + 4 : at + 8 + size]) != int.from_bytes(view[at + 8 + size : at + 12 + size], "big"):
                raise BadImage(f"broken PNG: wrong checksum of chunk {ascii(kind)[2:-1]!r}")
        yield kind, view[at + 8 : at + 8 + size]
        if kind == b"IEND":
            return
        at += 12 + size
    raise BadImage(f"broken PNG: more than {_MOST_CHUNKS:,} chunks")


def _image_data(chunks: Iterator[tuple[bytes, memoryview]], colour: int) -> Iterator[memoryview]:
    """Yields the bodies of IDAT; raises BadImage when chunks are missing, unknown or not in order."""
    palette = started = ended = False
    packed: list[bytes] = []
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
        elif kind in _PACKED:
            packed.append(_packed(kind, bytes(body)))
    if packed:
        _check_metadata(packed)


def _check_metadata(packed: list[bytes]) -> None:
    """Raises BadImage when compressed metadata inflate to more than an image's metadata have."""
    room = _MOST_METADATA
    if sum(map(len, packed)) * _DEFLATE_RATIO < room:
        return
    for data in packed:
        with contextlib.suppress(zlib.error):  # libpng warns, and goes on without
            room -= len(zlib.decompressobj().decompress(data, room + 1))
        if room < 0:
            raise BadImage(f"broken PNG: metadata inflate to more than {_MOST_METADATA >> 20} MB")


def _packed(kind: bytes, body: bytes) -> bytes:
    """Returns the compressed part of an iCCP, zTXt or iTXt chunk."""
    rest = body.partition(b"\0")[2]
    if kind != b"iTXt":
        return rest[1:]  # after the compression method
    if rest[:1] != b"\1":
        return b""  # not compressed
    return b"\0".join(rest[2:].split(b"\0", 2)[2:])  # after language and translated keyword


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
