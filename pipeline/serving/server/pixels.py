"""How many pixels an image says it has, read from its first bytes: to refuse it before anything decodes it."""

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of frames, which have the size
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}


def pixels_of(data: bytes) -> int:
    """Returns width x height of a PNG, JPEG, GIF or BMP, which TensorFlow decodes; 0 for what is none of them."""
    if data.startswith(b"\x89PNG"):
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    if data.startswith(b"\xff\xd8"):
        return _of_jpeg(data)
    if data.startswith(b"GIF8"):
        return int.from_bytes(data[6:8], "little") * int.from_bytes(data[8:10], "little")
    if data.startswith(b"BM"):
        sides = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        width, height = map(abs, sides)  # a negative height: from the top
        return width * height
    return 0


def _of_jpeg(data: bytes) -> int:
    """Returns the size of the largest frame before the first scan.

    https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1
    """
    largest, at = 0, 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF):  # stray bytes and fill bytes
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker == 0xDA:
            break
        else:
            if marker in _JPEG_SIZES:
                height, width = (int.from_bytes(data[place : place + 2], "big") for place in (at + 5, at + 7))
                largest = max(largest, height * width)
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return largest
