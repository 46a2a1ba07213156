"""The program that decodes images of unknown origin: what crashes a C library here costs one image, not the caller.

It answers requests on stdin until that is closed; see decoder.py for their format. It imports nothing of the project,
so that it starts quickly, and each library only when a request needs it.
"""

import contextlib
import io
import resource
import struct
import sys

REQUEST = struct.Struct("<4sI")  # what to do, number of bytes that follow
ANSWER = struct.Struct("<?I")  # whether it could be done, number of bytes that follow: the result, or the reason
MOST_MEMORY = 4 * 2**30  # bytes of address space


def jpeg(data: bytes) -> bytes:
    """Decodes a JPEG at an eighth of its size. Its frame has to be one that libjpeg-turbo decodes into that size."""
    import simplejpeg

    try:
        colours = "CMYK" if data[_components(data)] == 4 else "GRAY"
        simplejpeg.decode_jpeg(data, colours, min_height=1, min_width=1, min_factor=8)
    except ValueError as complaint:
        # It complains of what decoders only warn of, too (broken codes give other pixels), and does not know every
        # sampling. Not strict it would not complain of errors either. So Pillow has the last word.
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                image.draft(image.mode, (1, 1))
                image.load()
        except (OSError, SyntaxError, ValueError):
            raise complaint from None
    return b""


def _components(data: bytes) -> int:
    """Returns where the number of components stands in a JPEG that holds no metadata."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 9


VERBS = {b"jpeg": jpeg}


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
