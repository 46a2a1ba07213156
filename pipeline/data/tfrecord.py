"""TFRecord files of tf.train.Example, written and read by hand: faster than through TensorFlow, and without it.

A record is its length (8 bytes, little endian), a checksum of the length, the data, and a checksum of the data
(tensorflow/core/lib/io/record_writer.h). An Example is a map from feature names to lists of values, here of one each.
"""

import functools
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

from pipeline.errors import SpanloopError


class Example(NamedTuple):
    """One labelled image of a span."""

    image: bytes  # encoded, as it came
    label: str
    span: int
    source: str  # sha256 of the image, hexadecimal


class BrokenRecords(SpanloopError):
    """A file holds something else than whole records of ours."""

    def __init__(self, path: str, what: str):
        super().__init__(f"{path} is damaged: {what}. Restore it from a backup.")


def append(file: BinaryIO, image: bytes, label: str, span: int, source: str) -> int:
    """Writes a record with the Example of an image and returns the bytes that it took; see `Example`."""
    return file.write(of_image(image, label, span, source))


def append_record(file: BinaryIO, data: bytes) -> int:
    """Writes a record of any data and returns the bytes that it took."""
    record = of_data(data)
    file.write(record)  # returns None for a file of TensorFlow
    return len(record)


def of_image(image: bytes, label: str, span: int, source: str) -> bytes:
    """Returns a record with the Example of an image; see `Example`."""
    before, checksum, after = _around(len(image), label, span)
    after += source.encode()
    checksum = google_crc32c.extend(google_crc32c.extend(checksum, image), after)
    return b"".join((before, image, after, _masked(checksum)))


def of_data(data: bytes) -> bytes:
    """Returns a record of any data."""
    length = len(data).to_bytes(8, "little")
    return b"".join((length, _masked(google_crc32c.value(length)), data, _masked(google_crc32c.value(data))))


def records(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Yields the records of an open file that was at `path`; raises BrokenRecords where one is cut off or wrong."""
    while head := file.read(12):
        if head[8:] != _masked(google_crc32c.value(head[:8])):
            raise BrokenRecords(path, f"no record begins at byte {file.tell() - len(head)}")
        record, checksum = file.read(int.from_bytes(head[:8], "little")), file.read(4)
        if checksum != _masked(google_crc32c.value(record)):
            raise BrokenRecords(path, f"the record that ends at byte {file.tell()} is not what was written")
        yield record


def _masked(checksum: int) -> bytes:
    # TFRecord stores it rotated and shifted, because the checksum of data that hold checksums is weak.
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def parse(record: bytes) -> Example:
    """Reads what `example` or TensorFlow wrote. Raises ValueError when features are missing."""
    found: dict[str, bytes | int] = {}
    for _, features in _fields(record):
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            for kind, values in _fields(parts[2]):
                value = next(_fields(values), (0, b""))[1]
                found[parts[1].decode()] = _varint_at(value, 0)[0] if kind == 3 and isinstance(value, bytes) else value
    try:
        return Example(found["image"], found["label"].decode(), found["span"], found["source"].decode())
    except (KeyError, AttributeError) as missing:
        raise ValueError(f"not an example of a span: {missing}") from None


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return b"%c%b%b" % (number << 3 | 2, _varint(len(content)), content)


@functools.lru_cache(maxsize=4096)
def _around(size: int, label: str, span: int) -> tuple[bytes, int, bytes]:
    """Returns what a record has before an image of `size` bytes, the crc32c of the part of it that is data, and what it
    has between the image and its source, which are 64 hexadecimal digits."""
    text = _field(1, b"label") + _field(2, _field(1, _field(1, label.encode())))
    number = _field(1, b"span") + _field(2, _field(3, _field(1, _varint(span))))  # Feature.int64_list, packed
    source = _field(1, b"source") + _field(2, _field(1, _field(1, b"0" * 64)))
    after = (_field(1, text) + _field(1, number) + _field(1, source))[:-64]

    before = b"\n" + _varint(size)  # BytesList.value
    before = b"\n" + _varint(len(before) + size) + before  # Feature.bytes_list
    before = _field(1, b"image") + b"\x12" + _varint(len(before) + size) + before
    before = b"\n" + _varint(len(before) + size) + before  # Features.feature
    before = b"\n" + _varint(len(before) + size + len(after) + 64) + before  # Example.features

    length = (len(before) + size + len(after) + 64).to_bytes(8, "little")
    return length + _masked(google_crc32c.value(length)) + before, google_crc32c.value(before), after


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yields (number, value) of a message that has only varints and what is length-delimited."""
    at = 0
    while at < len(data):
        tag, at = _varint_at(data, at)
        size, at = _varint_at(data, at)
        if tag & 7 == 2:
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            yield tag >> 3, size
