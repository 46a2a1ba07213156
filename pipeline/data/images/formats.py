"""Which format a file has that is neither JPEG nor PNG, by its first bytes, and what can be done about it."""

from typing import NamedTuple


class Format(NamedTuple):
    """A format; "" as `name` when it is none of those that are known."""

    name: str
    verb: bytes = b""  # by which decoder_process.py makes a PNG of it, if it does

    @property
    def refusal(self) -> str:
        """Says why such a file is no example as it is, and the way out."""
        if not self.name:
            return "neither JPEG nor PNG"
        way_out = "`import-images DIR --convert` makes a PNG of it" if self.verb else "convert it with another program"
        return f"{self.name}, neither JPEG nor PNG: {way_out}"


# (where, what stands there, format); the first that matches. Of ISO media files (https://mp4ra.org) the brand says it.
_SIGNATURES = [
    (8, b"WEBP", Format("WebP", b"webp")),
    (4, b"ftypavif", Format("AVIF", b"avif")),
    (4, b"ftypavis", Format("AVIF", b"avif")),
    *((4, b"ftyp" + brand, Format("HEIC", b"heif")) for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (4, b"ftyp", Format("video")),
    (0, b"GIF8", Format("GIF", b"gif ")),
    (0, b"BM", Format("BMP", b"bmp ")),
    *((0, magic, Format("TIFF", b"tiff")) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (4, b"jP  \r\n\x87\n", Format("JPEG 2000")),
    (0, b"\xff\x4f\xff\x51", Format("JPEG 2000")),
    (4, b"JXL \r\n\x87\n", Format("JPEG XL")),
    (0, b"\xff\x0a", Format("JPEG XL")),
    (0, b"\0\0\1\0", Format("ICO")),
    (0, b"8BPS", Format("Photoshop")),
    (0, b"%PDF", Format("PDF")),
    (0, b"PK\3\4", Format("ZIP archive")),
    (0, b"\x1f\x8b", Format("gzip archive")),
    (0, b"version https://git-lfs", Format("Git LFS pointer in place of the file")),
]
_TEXTS = [(b"<svg", "SVG"), (b"<!doctype html", "web page"), (b"<html", "web page")]


def is_image(data: bytes) -> bool:
    """True when the first bytes of a file say that it is a JPEG or PNG, or of a format that a PNG can be made of."""
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or bool(format_of(data).verb)


def format_of(data: bytes) -> Format:
    """Returns the format that the first bytes of a file say it has."""
    for at, magic, found in _SIGNATURES:
        if data.startswith(magic, at):
            return found
    start = data[:1024].lower()
    return next((Format(name) for text, name in _TEXTS if text in start), Format(""))
