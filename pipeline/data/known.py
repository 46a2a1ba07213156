"""Which published span has an image: exact, and eight bytes of memory for each image that was published."""

import functools
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.data import manifest
from pipeline.data.corrections import Corrected
from pipeline.data.span import Span
from pipeline.storage.base import Storage


class Holder(NamedTuple):
    """A published image, or one that was added."""

    span: int | None  # None for one that was added
    label: str
    position: int = -1  # of one that was added, in the order of adding
    withdrawn: str = ""  # why, or ""
    erased: bool = False

    @property
    def reason(self) -> str:
        """Why a withdrawn image cannot be used."""
        return f"withdrawn from span {self.span}: {self.withdrawn}"


class Known:
    """The images of all published `spans`, and those that are added."""

    def __init__(self, storage: Storage, spans: Sequence[Span]):
        self._spans = spans
        # the first five bytes of each sha256, then in three the place of its span in the list
        keys = array("Q")
        manifests = storage.read_each(manifest.manifest_of(span.number) for span in self._spans)
        for place, data in enumerate(manifests):
            keys.extend(int.from_bytes(digest[:5], "big") << 24 | place for digest in manifest.digests(data))
            # What was erased is not in the manifest any more.
            corrected = _corrected(self._spans[place])
            keys.extend(int.from_bytes(digest[:5], "big") << 24 | place for digest in corrected)
        self._keys = array("Q", sorted(keys))
        self._holders = functools.cache(lambda place: _holders(self._spans[place]))
        self._new: dict[bytes, int] = {}
        self.labels: list[str] = []  # of the images that were added

    def add(self, digest: bytes, label: str, original: str = "") -> None:
        """Remembers an image that is going to be published, and the sha256 of its original."""
        self._new[digest] = len(self.labels)
        if original:
            self._new[bytes.fromhex(original)] = len(self.labels)
        self.labels.append(label)

    def holder(self, digest: bytes, original: str = "") -> Holder | None:
        """Returns what has the image of this sha256, or was converted from the same original; None for a new one."""
        if (position := self._new.get(digest)) is not None:
            return Holder(None, self.labels[position], position)
        found = self._published(digest) if self._keys else None
        return self.holder(bytes.fromhex(original)) if found is None and original else found

    def _published(self, digest: bytes) -> Holder | None:
        first = int.from_bytes(digest[:5], "big")
        for at in range(bisect_left(self._keys, first << 24), len(self._keys)):
            if self._keys[at] >> 24 != first:
                break
            if (holder := self._holders(self._keys[at] & 0xFFFFFF).get(digest)) is not None:
                return holder
        return None


def _holders(span: Span) -> dict[bytes, Holder]:
    """Returns {sha256: what has it} of a span; one Holder for each label."""
    of_label = functools.cache(lambda label: Holder(span.number, label))
    found = {bytes.fromhex(sha256): of_label(source.label) for source in span.listed for sha256 in source.digests}
    for digest, image in _corrected(span).items():
        found[digest] = Holder(span.number, image.label, withdrawn=image.withdrawn, erased=image.erase)
    return found


def _corrected(span: Span) -> dict[bytes, Corrected]:
    """Returns what is corrected of an image by its sha256, and by that of its original."""
    images = span.corrections.images.values()
    return {bytes.fromhex(sha256): image for image in images for sha256 in image.published.digests}
