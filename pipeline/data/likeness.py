"""Which images are the same to the eye: re-encoded, resized, neighbours in a burst.

Of each image a look is kept: its brightness, averaged over 8 x 8 areas, upright. Two looks are alike when, each free of
its mean and divided by its own contrast, they differ by no more than RADIUS (root mean square), and their means by no
more than exposure explains. That separates better than counting the differing bits of a difference hash, whose bits are
noise wherever an image is flat. Near pairs are found without comparing all: the signs of a look's projections on random
planes are its keys in several tables, and only looks with a common key are compared
(https://en.wikipedia.org/wiki/Locality-sensitive_hashing#Random_projection).
"""

import contextlib
import functools
import hashlib
import io
import struct
from array import array
from collections.abc import Iterator

import numpy as np

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

_TABLES, _PLANES, _FREQUENCIES = 20, 64, 20
_BUCKET = 32  # looks of a bucket that each is compared with; more are joined through one another
_QUEUED_BYTES = 8 * 2**20


def group_key(group: str) -> int:
    """Returns what a record holds of a group: 0 for none."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little") or 1 if group else 0


def image_key(sha256: bytes) -> int:
    """Returns what a record holds of an image's sha256."""
    return int.from_bytes(sha256[:8], "little")


class Looks:
    """The records of images, in the order in which they were added. Images of one size are averaged together."""

    def __init__(self):
        self._blocks: list[np.ndarray] = []
        self._count = self._bytes = 0
        self._splits, self._groups, self._images = bytearray(), array("Q"), array("Q")
        self._queues: dict[tuple[int, int], list[tuple[int, np.ndarray, bytes]]] = {}

    def add(self, data: bytes, sha256: bytes, split: int, group: str = "") -> None:
        """Adds an image that `images.check` accepts, on the side of the split that `split.number_of` numbers."""
        if self._count % _BLOCK == 0:
            self._blocks.append(np.zeros(_BLOCK, RECORD))
        self._splits.append(split)
        self._groups.append(group_key(group))
        self._images.append(image_key(sha256))
        pixels = brightness(data)
        queue = self._queues.setdefault(pixels.shape, [])
        queue.append((self._count, pixels, data))
        self._count += 1
        self._bytes += len(data) + pixels.size
        if len(queue) == 64:
            self._average(pixels.shape)
        if self._bytes > _QUEUED_BYTES:
            self._average_all()

    def records(self) -> np.ndarray:
        """Returns an array of RECORD."""
        self._average_all()
        found = np.concatenate([np.zeros(0, RECORD), *self._blocks])[: self._count]
        found["split"] = np.frombuffer(bytes(self._splits), np.uint8)
        found["group"], found["image"] = np.array(self._groups, np.uint64), np.array(self._images, np.uint64)
        return found

    def _average_all(self) -> None:
        for shape in list(self._queues):
            self._average(shape)

    def _average(self, shape: tuple[int, int]) -> None:
        queue = self._queues.pop(shape)
        looks = _averaged(np.stack([pixels for _, pixels, _ in queue]))
        flat = looks.std(axis=(1, 2)) < FLAT
        looks = np.rint(looks).astype(np.uint8)
        for at, (position, pixels, data) in enumerate(queue):
            if turn := _TURNS.get(_orientation(data)):
                looks[at] = turn(looks[at])
            if flat[at]:
                self._blocks[position // _BLOCK]["colour"][position % _BLOCK] = mean_colour(data)
            self._bytes -= len(data) + pixels.size
        positions = np.array([position for position, _, _ in queue])
        for block in set((positions // _BLOCK).tolist()):
            chosen = positions // _BLOCK == block
            self._blocks[block]["look"][positions[chosen] % _BLOCK] = looks[chosen].reshape(-1, SIDE * SIDE)


_BLOCK = 4096


def _averaged(images: np.ndarray) -> np.ndarray:
    """uint8 [n, height, width] to the mean brightness of areas, float32 [n, SIDE, SIDE]."""
    count, height, width = images.shape
    rows = _areas(height) @ images.astype(np.float32)
    return (rows.reshape(count * SIDE, width) @ _areas(width).T).reshape(count, SIDE, SIDE)


@functools.lru_cache(maxsize=1024)
def _areas(length: int) -> np.ndarray:
    """Weights of pixels in the mean of each area, float32 [SIDE, length]; areas may begin within a pixel."""
    begin = np.arange(SIDE)[:, None] * length / SIDE
    pixel = np.arange(length)[None]
    shared = np.minimum(begin + length / SIDE, pixel + 1) - np.maximum(begin, pixel)
    return (np.clip(shared, 0, None) * SIDE / length).astype(np.float32)


def brightness(data: bytes) -> np.ndarray:
    """Encoded image to uint8 [height, width], reduced where that makes decoding cheaper."""
    if data.startswith(b"\xff\xd8"):
        import simplejpeg

        with contextlib.suppress(ValueError):  # CMYK, or a sampling that only Pillow knows
            return simplejpeg.decode_jpeg(data, "GRAY", min_height=PIXELS, min_width=PIXELS, min_factor=1)[..., 0]
    return np.asarray(_opened(data).convert("L"))


def mean_colour(data: bytes) -> np.ndarray:
    """Encoded image to its mean colour, uint8 [3]."""
    return np.asarray(_opened(data).resize((1, 1), _box()).convert("RGB"))[0, 0]


def _opened(data: bytes):
    """Opens an image with Pillow: on white where it is transparent, and no larger than looks need."""
    from PIL import Image

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


def _orientation(data: bytes) -> int:
    """Returns EXIF's Orientation of an encoded image, 1 where it names none."""
    if data.startswith(b"\xff\xd8"):
        at = data.find(b"Exif\0\0", 0, 64 * 2**10)
        tiff = data[at + 6 : at + 6 + 64 * 2**10] if at >= 0 else b""
    else:
        at = data.find(b"eXIf", 0, 64 * 2**10)
        tiff = data[at + 4 : at + 4 + 64 * 2**10] if at >= 0 else b""
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
    normal, mean, contrast = _normalised(records["look"][chosen])
    projected = normal @ _planes()
    compare = _Comparison(normal, mean, contrast, records["colour"][chosen].astype(np.int16), radius)
    new = chosen >= begin
    for keys, owners in _tables(projected, new):
        for candidates in _same_bucket(keys, owners, new):
            yield chosen[candidates[compare.alike(candidates)]]


def _same_looks(records: np.ndarray) -> np.ndarray:
    """Returns pairs (first, other) of equal looks, sorted out before anything is compared."""
    whole = np.concatenate([records["look"], records["colour"]], axis=1)
    _, first, inverse = np.unique(_as_void(whole), return_index=True, return_inverse=True)
    firsts = first[inverse.ravel()]
    others = np.flatnonzero(firsts != np.arange(len(records)))
    return np.stack([firsts[others], others], axis=1)


def _as_void(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()


def _normalised(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 [n, 64] to the same free of mean and contrast, float32, and both of these [n]."""
    looks = looks.astype(np.float32)
    mean = looks.mean(axis=1)
    looks -= mean[:, None]
    contrast = np.sqrt((looks**2).mean(axis=1))
    looks /= np.maximum(contrast, FLAT)[:, None]
    return looks, mean, contrast


@functools.cache
def _planes() -> np.ndarray:
    """Directions of low spatial frequency, float32 [64, _PLANES]: there images differ more than their copies do."""
    at = np.arange(SIDE)
    wave = np.cos(np.pi * at[:, None] * (2 * at[None] + 1) / (2 * SIDE))
    frequencies = sorted((row + column, row, column) for row in at for column in at if row + column)[:_FREQUENCIES]
    patterns = [np.outer(wave[row], wave[column]).ravel() for _, row, column in frequencies]
    patterns = np.stack([pattern / np.linalg.norm(pattern) for pattern in patterns])
    random = np.random.default_rng(VERSION)
    return (random.normal(size=(_PLANES, _FREQUENCIES)) @ patterns).T.astype(np.float32)


def _tables(projected: np.ndarray, new: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (keys, positions) of each table. A new look is there twice: the sign that is least sure may be wrong."""
    count = len(projected)
    bits = int(np.clip(np.ceil(np.log2(count + 1)) + 5, 14, 48))
    random = np.random.default_rng(VERSION)
    fresh = np.flatnonzero(new)
    positive, distance = projected > 0, np.abs(projected[fresh])
    for _ in range(_TABLES):
        chosen = np.sort(random.choice(_PLANES, bits, replace=False))
        keys = _packed(positive[:, chosen])
        unsure = distance[:, chosen].argmin(axis=1).astype(np.uint64)
        flipped = keys[fresh] ^ (np.uint64(1) << unsure)
        yield np.concatenate([keys, flipped]), np.concatenate([np.arange(count), fresh])


def _packed(bits: np.ndarray) -> np.ndarray:
    """bool [n, at most 64] to uint64 [n], the first bit being the lowest."""
    packed = np.zeros((len(bits), 8), np.uint8)
    some = np.packbits(bits, axis=1, bitorder="little")
    packed[:, : some.shape[1]] = some
    return packed.view("<u8").ravel()


def _same_bucket(keys: np.ndarray, owners: np.ndarray, new: np.ndarray) -> Iterator[np.ndarray]:
    """Yields candidate pairs, int64 [n, 2]: each look with the next ones of its bucket, one of both new."""
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], owners[order]
    at = np.arange(len(keys))
    for distance in range(1, _BUCKET + 1):
        at = at[at + distance < len(keys)]
        at = at[keys[at] == keys[at + distance]]
        if not len(at):
            return
        first, second = owners[at], owners[at + distance]
        wanted = (first != second) & (new[first] | new[second])
        pairs = np.stack([first[wanted], second[wanted]], axis=1)
        for begin in range(0, len(pairs), _AT_ONCE):
            yield pairs[begin : begin + _AT_ONCE]


_AT_ONCE = 1 << 15  # pairs that are compared at once: their looks take some megabytes


class _Comparison:
    """Says which pairs of looks are alike."""

    def __init__(self, normal: np.ndarray, mean: np.ndarray, contrast: np.ndarray, colour: np.ndarray, radius: float):
        self._most = radius**2 * SIDE * SIDE
        self._normal, self._mean, self._contrast, self._colour = normal, mean, contrast, colour

    def alike(self, pairs: np.ndarray) -> np.ndarray:
        """int64 [n, 2] to bool [n]."""
        first, second = pairs.T
        difference = self._normal[first] - self._normal[second]
        close = np.einsum("ij,ij->i", difference, difference) <= self._most
        contrast = np.minimum(self._contrast[first], self._contrast[second])
        exposure = np.abs(self._mean[first] - self._mean[second]) <= _EXPOSURE[0] + _EXPOSURE[1] * contrast
        both_flat = np.maximum(self._contrast[first], self._contrast[second]) < FLAT
        colour = np.abs(self._colour[first] - self._colour[second]).max(axis=1) <= _COLOUR
        return close & exposure & (colour | ~both_flat)
