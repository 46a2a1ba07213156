"""Which images are the same to the eye: re-encoded, resized, neighbours in a burst.

Of each image a look is kept: its brightness, averaged over 8 x 8 areas, upright. Two looks are alike when, each free of
its mean and divided by its own contrast, they differ by no more than RADIUS (root mean square), and their means by no
more than exposure explains. That separates better than counting the differing bits of a difference hash, whose bits are
noise wherever an image is flat. Near pairs are found without comparing all: the signs of a look's projections on random
planes are its keys in several tables, and only looks with a common key are compared
(https://en.wikipedia.org/wiki/Locality-sensitive_hashing#Random_projection).
"""

import functools
import hashlib
import io
import re
import struct
from collections.abc import Iterator, Sequence

import numpy as np
import simplejpeg

from pipeline.data.images import without_metadata

SIDE = 8
PIXELS = 32  # a side of the image from which a look is taken is at least so long, if the image is
RECORD = np.dtype(
    [("look", "u1", SIDE * SIDE), ("colour", "u1", 3), ("split", "u1"), ("group", "<u8"), ("image", "<u8")]
)
VERSION = 1  # of how looks are made

RADIUS = 0.25
FLAT = 6.0  # brightness levels of contrast below which differences are measured as if it had this contrast
_EXPOSURE = (4.0, 0.5)  # means may differ by that many levels, and that many times the contrast
_COLOUR = 8  # levels by which the mean colours of two flat images may differ

_TABLES, _PLANES, _FREQUENCIES, _COARSE = 20, 64, 20, 16
_BUCKET = 32  # looks of a bucket that each is compared with; more are joined through one another


def group_key(group: str) -> int:
    """Returns what a record holds of a group: 0 for none."""
    return (
        int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "little") or 1
        if group
        else 0
    )


def image_key(sha256: bytes) -> int:
    """Returns what a record holds of an image's sha256."""
    return int.from_bytes(sha256[:8], "little")


class Looks:
    """The records of images, in the order in which they were added. Takes the looks of a batch of them at a time.

    In this thread: another one would contend for the interpreter at each file and each image, for a third more CPU.
    """

    def __init__(self):
        self._batches = [np.zeros(0, RECORD)]
        self._waiting: list[tuple[bytes, bytes, int, str]] = []
        self._bytes = 0

    def add(self, data: bytes, sha256: bytes, split: int, group: str = "") -> None:
        """Adds an image that `images.check` accepts, on the side of the split that `split.number_of` numbers."""
        self._waiting.append((data, sha256, split, group))
        self._bytes += len(data)
        if len(self._waiting) == _BATCH or self._bytes > _BATCH_BYTES:
            self._take()

    def records(self) -> np.ndarray:
        """Returns an array of RECORD."""
        self._take()
        return np.concatenate(self._batches)

    def _take(self) -> None:
        if self._waiting:
            self._batches.append(_records(*zip(*self._waiting, strict=True)))
        self._waiting, self._bytes = [], 0


_BATCH, _BATCH_BYTES = 512, 8 * 2**20
_LARGE = 128 * 128  # pixels of an image that is averaged alone


def _records(
    images: Sequence[bytes], digests: Sequence[bytes], splits: Sequence[int], groups: Sequence[str]
) -> np.ndarray:
    """Returns the RECORD of each of the images."""
    records = np.zeros(len(images), RECORD)
    records["split"] = splits
    records["image"] = np.frombuffer(b"".join(digests), "<u8")[::4]  # image_key of each
    if any(groups):
        records["group"] = list(map(group_key, groups))
    looks = np.zeros((len(images), SIDE, SIDE), np.float32)
    same_size: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
    for at, data in enumerate(images):
        pixels = brightness(data)
        if pixels.size > _LARGE:
            looks[at] = _averaged([pixels])
        else:
            same_size.setdefault(pixels.shape, []).append((at, pixels))
    for shape in same_size.values():
        positions, pixels = zip(*shape, strict=True)
        looks[list(positions)] = _averaged(pixels)
    for at in np.flatnonzero(looks.std(axis=(1, 2)) < FLAT):
        records["colour"][at] = mean_colour(images[at])
    for at, data in enumerate(images):
        if not _NO_METADATA.match(data) and (turn := _TURNS.get(_orientation(data))):
            looks[at] = turn(looks[at])
    records["look"] = np.rint(looks).reshape(-1, SIDE * SIDE)
    return records


def _averaged(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images, each uint8 [height, width] of the same size, to the mean brightness of areas, float32 [n, SIDE, SIDE]."""
    height, width = images[0].shape
    pixels = np.concatenate(images, dtype=np.float32).reshape(-1, height, width)
    # An image at a time: of more, OpenBLAS makes threads, which wait for one another longer than they work.
    return _areas(height) @ pixels @ _areas(width).T / (height * width)


@functools.lru_cache(maxsize=1024)
def _areas(length: int) -> np.ndarray:
    """Weights of pixels in each area, float32 [SIDE, length]: areas may begin within a pixel.

    All are integers, so that sums over images of 65,000 pixels are exact, and looks the same in whatever order.
    """
    begin, pixel = np.arange(SIDE)[:, None] * length, np.arange(length)[None] * SIDE
    return np.clip(np.minimum(begin + length, pixel + SIDE) - np.maximum(begin, pixel), 0, None).astype(np.float32)


def brightness(data: bytes) -> np.ndarray:
    """Encoded image to uint8 [height, width], reduced where that makes decoding cheaper.

    What only TensorFlow can decode is noise that no other image is like.
    """
    try:
        return _decoded(data, "GRAY")[..., 0]
    except ValueError:
        pass
    try:
        return np.asarray(_opened(data).convert("L"))
    except Exception:  # Pillow has no common class for what it raises, and no image may stop an import
        return np.frombuffer(hashlib.sha512(data).digest(), np.uint8).reshape(SIDE, SIDE)


def mean_colour(data: bytes) -> np.ndarray:
    """Encoded image to its mean colour, uint8 [3]."""
    try:
        return np.rint(_decoded(data, "RGB").reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    except ValueError:
        return np.asarray(_opened(data).resize((1, 1), _box()).convert("RGB"))[0, 0]


def _decoded(data: bytes, colours: str) -> np.ndarray:
    """Decodes a JPEG, reduced, to uint8 [height, width, channels]: many times as fast as Pillow.

    Raises ValueError for a PNG, CMYK, and a sampling that only Pillow knows.
    """
    return simplejpeg.decode_jpeg(data, colours, min_height=PIXELS, min_width=PIXELS, min_factor=1)


def _opened(data: bytes):
    """Opens an image with Pillow: on white where it is transparent, and no larger than looks need."""
    from PIL import Image

    if data.startswith(b"\x89PNG"):
        data = without_metadata(data)
    image = Image.open(io.BytesIO(data))
    image.draft("RGB" if image.mode not in ("L", "CMYK") else image.mode, (2 * PIXELS, 2 * PIXELS))
    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("RGB")
    if min(image.size) > 4 * PIXELS:
        image = image.reduce(min(image.size) // (2 * PIXELS))
    return image


def _box():
    from PIL import Image

    return Image.Resampling.BOX


# By EXIF's Orientation, as Pillow's ImageOps.exif_transpose turns an image.
_TURNS = {
    2: np.fliplr,
    3: lambda look: np.rot90(look, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda look: np.rot90(look, -1),
    7: lambda look: np.rot90(look, 2).T,
    8: np.rot90,
}


def _exif(data: bytes) -> bytes:
    """Returns 64 KB of an encoded image from where its EXIF data begin; nothing where it has none."""
    if not data.startswith(b"\xff\xd8"):
        at = data.find(b"eXIf", 0, 64 * 2**10)
        return data[at + 4 : at + 4 + 64 * 2**10] if at >= 0 else b""
    at = 2  # of the first segment; searching all bytes would take a tenth as long as decoding them
    while data[at : at + 1] == b"\xff" and data[at + 1] in _METADATA:
        if data.startswith(b"Exif\0\0", at + 4):
            return data[at + 10 : at + 10 + 64 * 2**10]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return b""


_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})  # segments of a JPEG that come before all others
_NO_METADATA = re.compile(rb"\xff\xd8(?:\xff\xe0\0\x10.{14})?\xff[\xc0-\xdf]", re.DOTALL)  # none, or only JFIF's


def _orientation(data: bytes) -> int:
    """Returns EXIF's Orientation of an encoded image, 1 where it names none."""
    tiff = _exif(data)
    if tiff[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            if tag == 0x112 and kind == 3:
                return value
    except struct.error:
        return 1
    return 1


def near_pairs(records: np.ndarray, begin: int = 0, radius: float = RADIUS) -> Iterator[np.ndarray]:
    """Yields pairs of positions, int64 [n, 2], of looks that are alike, one of each at `begin` or after; or equal.

    Of very many looks that are alike not all pairs are found, but enough that all are connected.
    """
    if begin >= len(records):
        return
    same = _same_looks(records)
    yield same
    first = np.ones(len(records), bool)
    first[same[:, 1]] = False
    chosen = np.flatnonzero(first)
    looks = _Projected(records[chosen])
    for candidates in looks.candidates(chosen >= begin):
        yield chosen[candidates[looks.alike(candidates, radius)]]


def _same_looks(records: np.ndarray) -> np.ndarray:
    """Returns pairs (first, other) of equal looks, sorted out before anything is compared."""
    parts = np.ascontiguousarray(records["look"]).view("<u8")
    chosen = _repeated(_hashes((parts * _PRIMES).sum(axis=1, dtype=np.uint64)))
    whole = np.concatenate([records["look"][chosen], records["colour"][chosen]], axis=1)
    _, first, inverse = np.unique(_as_void(whole), return_index=True, return_inverse=True)
    firsts = chosen[first[inverse.ravel()]]
    different = firsts != chosen
    return np.stack([firsts[different], chosen[different]], axis=1)


_PRIMES = np.array([2, 3, 5, 7, 11, 13, 17, 19], np.uint64)


def _as_void(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()


@functools.cache
def _patterns() -> np.ndarray:
    """Orthonormal patterns of low spatial frequency, float32 [64, _FREQUENCIES], the lowest first."""
    at = np.arange(SIDE)
    wave = np.cos(np.pi * at[:, None] * (2 * at[None] + 1) / (2 * SIDE))
    frequencies = sorted((row + column, row, column) for row in at for column in at if row + column)[:_FREQUENCIES]
    patterns = [np.outer(wave[row], wave[column]).ravel() for _, row, column in frequencies]
    return np.stack([pattern / np.linalg.norm(pattern) for pattern in patterns], axis=1).astype(np.float32)


@functools.cache
def _planes() -> np.ndarray:
    """Random directions among these patterns, float32 [_PLANES, _FREQUENCIES]."""
    return np.random.default_rng(VERSION).normal(size=(_PLANES, _FREQUENCIES)).astype(np.float32)


def _product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiplies a few rows at a time: of more, OpenBLAS makes threads, which wait longer than they work."""
    return np.concatenate([rows[at : at + 128] @ matrix for at in range(0, len(rows), 128)])


class _Projected:
    """Looks, with what finding those that are alike needs of each: 184 bytes."""

    def __init__(self, records: np.ndarray):
        count = len(records)
        self._looks, self._colours = records["look"], records["colour"]
        self._mean, self._contrast = np.zeros((2, count), np.float32)
        self._coarse = np.zeros((count, _COARSE), np.float32)  # along the first patterns
        self._signs = np.zeros(count, np.uint64)  # of the projections on all planes, a bit each
        random = np.random.default_rng(VERSION)
        bits = int(np.clip(np.ceil(np.log2(count + 1)) + 5, 14, 48))
        self._tables = [random.choice(_PLANES, bits, replace=False) for _ in range(_TABLES)]  # their planes
        self._unsure = np.zeros((_TABLES, count), np.uint8)  # the plane to which a look is nearest
        # A block at a time: the projections of all looks would take several times the space of what is kept.
        for begin in range(0, count, _BLOCK):
            self._project(slice(begin, begin + _BLOCK))

    def _project(self, block: slice) -> None:
        looks = self._looks[block].astype(np.float32)
        self._mean[block] = looks.mean(axis=1)
        looks -= self._mean[block, np.newaxis]
        self._contrast[block] = np.sqrt((looks**2).mean(axis=1))
        looks /= np.maximum(self._contrast[block], FLAT)[:, np.newaxis]
        parts = _product(looks, _patterns())
        self._coarse[block] = parts[:, :_COARSE]
        projected = np.ascontiguousarray(_product(parts, _planes().T).T)
        signs = np.packbits(projected > 0, axis=0, bitorder="little")
        self._signs[block] = np.ascontiguousarray(signs.T).view("<u8")[:, 0]
        # The number of a plane stands in the last bits of the distance from it, so that the least one names it.
        distances = np.abs(projected).view(np.uint32) & ~np.uint32(_PLANES - 1)
        distances |= np.arange(_PLANES, dtype=np.uint32)[:, np.newaxis]
        for table, chosen in enumerate(self._tables):
            self._unsure[table, block] = distances[chosen].min(axis=0) & np.uint32(_PLANES - 1)

    def candidates(self, new: np.ndarray) -> Iterator[np.ndarray]:
        """Yields pairs of positions, int64 [n, 2], that have a common key in a table, one of both new.

        A new look is in each table twice: the sign that is least sure may be wrong.
        """
        fresh = np.flatnonzero(new)
        owners = np.concatenate([np.arange(len(new)), fresh])
        for chosen, unsure in zip(self._tables, self._unsure, strict=True):
            mask = np.bitwise_or.reduce(np.uint64(1) << chosen.astype(np.uint64))
            flipped = self._signs[fresh] ^ (np.uint64(1) << unsure[fresh].astype(np.uint64))
            keys = np.concatenate([self._signs, flipped]) & mask
            # Looks whose keys differ and have one hash are rare, and compared in vain.
            hashes = _hashes(keys)
            order = _order(hashes)
            yield from _same_bucket(hashes.take(order), owners.take(order), new)

    def alike(self, pairs: np.ndarray, radius: float) -> np.ndarray:
        """int64 [n, 2] to bool [n]."""
        most = radius**2 * SIDE * SIDE
        first, second = pairs.T
        # Their distance along some patterns is no larger than that along all, and most pairs are farther apart.
        difference = self._coarse.take(first, axis=0)  # several times faster than self._coarse[first]
        difference -= self._coarse.take(second, axis=0)
        alike = np.einsum("ij,ij->i", difference, difference) <= most * 1.001
        first, second = pairs[alike].T
        difference = self._normalised(first) - self._normalised(second)
        close = np.einsum("ij,ij->i", difference, difference) <= most
        contrast = np.minimum(self._contrast[first], self._contrast[second])
        exposure = np.abs(self._mean[first] - self._mean[second]) <= _EXPOSURE[0] + _EXPOSURE[1] * contrast
        both_flat = np.maximum(self._contrast[first], self._contrast[second]) < FLAT
        colours = self._colours[first].astype(np.int16) - self._colours[second]
        alike[alike] = close & exposure & ((np.abs(colours).max(axis=1) <= _COLOUR) | ~both_flat)
        return alike

    def _normalised(self, positions: np.ndarray) -> np.ndarray:
        """Returns looks free of their mean and contrast, float32 [n, 64]."""
        looks = self._looks[positions] - self._mean[positions, np.newaxis]
        return looks / np.maximum(self._contrast[positions], FLAT)[:, np.newaxis]


def _hashes(keys: np.ndarray) -> np.ndarray:
    """uint64 [n] to uint32 [n]."""
    return (keys * _ODD >> np.uint64(32)).astype(np.uint32)


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Returns the positions, ascending, of all uint32 [n] that occur several times, and of a few others.

    Where few do, this costs less than sorting all.
    """
    bits = min(32, (8 * len(hashes)).bit_length())
    cells, positions = hashes >> np.uint32(32 - bits), np.arange(len(hashes), dtype=np.uint32)
    last = np.empty(1 << bits, np.uint32)
    last[cells] = positions
    several = np.zeros(1 << bits, bool)
    several[cells[last[cells] != positions]] = True
    return np.flatnonzero(several[cells])


def _order(numbers: np.ndarray) -> np.ndarray:
    """Returns the positions of uint32 [n] in ascending order, those of equal numbers as they were."""
    order = np.argsort(numbers.astype(np.uint16), kind="stable")  # of 16 bits: numpy counts instead of comparing
    return order.take(np.argsort((numbers >> np.uint32(16)).astype(np.uint16).take(order), kind="stable"))


def _same_bucket(keys: np.ndarray, owners: np.ndarray, new: np.ndarray) -> Iterator[np.ndarray]:
    """Yields candidate pairs, int64 [n, 2]: each look with the next ones of its bucket, one of both new.

    The keys are sorted.
    """
    at = np.flatnonzero(keys[1:] == keys[:-1])
    for distance in range(1, _BUCKET + 1):
        first, second = owners[at], owners[at + distance]
        wanted = (first != second) & (new[first] | new[second])
        pairs = np.stack([first[wanted], second[wanted]], axis=1)
        for begin in range(0, len(pairs), _AT_ONCE):
            yield pairs[begin : begin + _AT_ONCE]
        at = at[: np.searchsorted(at, len(keys) - distance - 1)]
        at = at[keys[at] == keys[at + distance + 1]]
        if not len(at):
            return


_AT_ONCE = 1 << 15  # pairs that are compared at once: their looks take some megabytes
_BLOCK = 4096  # looks
_ODD = np.uint64(0x9E3779B97F4A7C15)
