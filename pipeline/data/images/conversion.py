"""Makes PNGs of images in other formats. A PNG that was made here names the sha256 of its original in a text chunk."""

import hashlib
import re
import struct
import zlib

from pipeline.data.images import decoder
from pipeline.data.images.formats import format_of
from pipeline.data.images.rules import MOST_BYTES, BadImage

_HEADER = 33  # bytes of a PNG's signature and first chunk
_BEFORE = struct.pack(">I", 18 + 64) + b"tEXtspanloop:original\0"  # of the chunk: its length, kind and keyword
_CHUNK = re.compile(re.escape(_BEFORE) + rb"([0-9a-f]{64})")


def convert(data: bytes) -> bytes:
    """Returns a PNG of the first frame of an image, upright and without loss; JPEG, PNG and others as they are.

    A child process decodes it. Raises BadImage where that fails, or a PNG cannot hold what the image holds.
    """
    found = format_of(data)
    if not found.verb:
        return data
    try:
        png = decoder.ask(found.verb, data)
    except BadImage as bad:
        raise BadImage(f"{found.name} that cannot be converted: {bad}") from None
    if len(png) > MOST_BYTES - len(_BEFORE) - 68:
        raise BadImage(f"{found.name} that takes more than {MOST_BYTES >> 20} MB as PNG: make it smaller, or a JPEG")
    chunk = _BEFORE + hashlib.sha256(data).hexdigest().encode()
    return png[:_HEADER] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + png[_HEADER:]


def original_of(data: bytes) -> str:
    """Returns the sha256 of the file that an image was converted from; "" for an image that was not."""
    match = _CHUNK.match(data, _HEADER)
    return match[1].decode() if match else ""
