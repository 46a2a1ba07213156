"""The program that decodes images of unknown origin: what crashes a C library here costs one image, not the caller.

It answers requests on stdin until that is closed; see decoder.py for their format. It imports nothing of the project,
so that it starts quickly, and each library only when a request needs it.
"""

import contextlib
import functools
import io
import resource
import struct
import sys
import zlib

REQUEST = struct.Struct("<4sI")  # what to do, number of bytes that follow
ANSWER = struct.Struct("<?I")  # whether it could be done, number of bytes that follow: the result, or the reason
MOST_MEMORY = 4 * 2**30  # bytes of address space
MOST_PIXELS = 50_000_000  # of an image that is converted


def jpeg(data: bytes) -> bytes:
    """Decodes a JPEG at an eighth of its size. Its frame has to be one that libjpeg-turbo decodes into that size.

    It is one that Pillow or simplejpeg decodes. Pillow comes first: it starts in a third of the time, and simplejpeg
    complains of what decoders only warn of, too, and does not know every sampling.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.draft(image.mode, (1, 1))
            image.load()
    except Exception:  # Pillow has no common class for what it raises
        import simplejpeg

        colours = "CMYK" if data[_components(data)] == 4 else "GRAY"
        simplejpeg.decode_jpeg(data, colours, min_height=1, min_width=1, min_factor=8)
    return b""


def _components(data: bytes) -> int:
    """Returns where the number of components stands in a JPEG that holds no metadata."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 9


def png(format: str, data: bytes) -> bytes:
    """Makes a PNG of an image of a format of Pillow: its first frame, upright, without loss.

    Raises ValueError where a PNG cannot hold the image, or Pillow would lose some of it.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    _find_reader(format)
    Image.MAX_IMAGE_PIXELS = None  # the size is checked here, to the limit of all images
    try:
        image = Image.open(io.BytesIO(data), formats=[format])
    except UnidentifiedImageError:
        raise ValueError("its header is broken, or of a kind that Pillow does not read") from None
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels: more than {MOST_PIXELS // 1_000_000} megapixels")
        bits = _bits(image)
        mode = _MODES.get(image.mode)
        if mode is None:
            raise ValueError(_NO_PNG.get(image.mode, f"a PNG holds no colours of the kind {image.mode}"))
        if bits > 8 and mode != "I;16":
            raise ValueError(f"its colours have {bits} bits, of which 8 would be left")
        image.load()
        upright = ImageOps.exif_transpose(image if image.mode == mode else image.convert(mode))
    file = io.BytesIO()
    upright.save(file, "PNG")
    return _with_depth(file.getvalue(), bits) if mode == "I;16" else file.getvalue()


# {mode of Pillow: the one in which a PNG holds the same colours}
_MODES = {mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")}
_MODES |= {"I;16L": "I;16", "I;16B": "I;16", "I;16N": "I;16", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_NO_PNG = {
    "CMYK": "a PNG has no CMYK; make it RGB with a program that knows its printing inks",
    "LAB": "a PNG has no Lab colours; make it RGB",
    "F": "its values are floating-point numbers, and which of them is white is not known; make it 8 or 16 bits",
    "I": "its values have 32 bits or signs, and which of them is white is not known; make it 8 or 16 bits",
}


def largest(data: bytes) -> bytes:
    """Returns the largest value of a PNG of 16 bits, opacity aside, as digits; of colours rounded up to a 256th."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if image.mode.startswith("I"):
            return b"%d" % image.getextrema()[1]
        return b"%d" % max(band.getextrema()[1] * 256 + 255 for band in image.convert("RGB").split())


def _bits(image) -> int:
    """Returns how many bits each value of an image has in its file; raises ValueError where Pillow misreads them."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf)
    bits = max(tags.get(258, (8,)))  # BitsPerSample
    if (
        bits > 8 and tags.get(262) == 0
    ):  # PhotometricInterpretation: WhiteIsZero, which Pillow inverts up to 8 bits only
        raise ValueError(f"its values have {bits} bits, and 0 is white; make 0 black")
    return bits


def _with_depth(png: bytes, bits: int) -> bytes:
    """Adds to a PNG of 16 bits how many of them are used, if they are fewer, as a chunk sBIT behind its header."""
    if not 8 < bits < 16:
        return png
    body = b"sBIT" + bytes([bits])
    return png[:33] + struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body)) + png[33:]


def _find_reader(format: str) -> None:
    """Raises ValueError where Pillow does not read a format, and no plugin is installed that does."""
    from PIL import features

    if format == "HEIF":
        package = "pillow-heif"
        with contextlib.suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
            return
    elif format == "AVIF" and not features.check("avif"):
        package = "pillow-avif-plugin"
        with contextlib.suppress(ImportError):
            import pillow_avif  # noqa: F401 (registers itself)

            return
    else:
        return
    raise ValueError(f"this needs a package, {package}: `.venv/bin/python -m pip install {package}`")


VERBS = {b"jpeg": jpeg, b"most": largest} | {
    verb: functools.partial(png, format)
    for verb, format in {
        b"webp": "WEBP",
        b"avif": "AVIF",
        b"heif": "HEIF",
        b"gif ": "GIF",
        b"bmp ": "BMP",
        b"tiff": "TIFF",
    }.items()
}


def main() -> None:
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or the system has none
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(REQUEST.size):
        verb, size = REQUEST.unpack(head)
        data = requests.read(size)
        try:
            done, result = True, VERBS[verb](data)
        except MemoryError:
            done, result = False, b"needs more memory than an image may take"
        except Exception as error:  # whatever a decoder raises is its verdict on these bytes
            done, result = False, str(error).encode(errors="replace")
        answers.write(ANSWER.pack(done, len(result)) + result)
        answers.flush()


if __name__ == "__main__":
    main()
