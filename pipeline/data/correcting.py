"""Corrects published spans: other labels for images, and images withdrawn."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.data import corrections
from pipeline.data.corrections import RELABEL, WITHDRAW, Corrected
from pipeline.data.images import BadImage
from pipeline.data.incoming.collected import label_text
from pipeline.data.manifest import Listed, name_of, number_of
from pipeline.data.span import Span, published
from pipeline.errors import UsageError
from pipeline.outcomes import CorrectionOutcome
from pipeline.storage.base import Storage

DOING = "preparing a span"  # what the workspace lets one process at a time be doing: corrections wait for it, too


def relabel(storage: Storage, wanted: Sequence[str], label: str) -> CorrectionOutcome:
    """Gives published images another label; raises UsageError when one is not there.

    `wanted` are spans, names of images, which `span-0001/` may precede, or sha256, also that of the file that
    an image was converted from, of which 12 digits are enough.
    """
    try:
        label = label_text(label)
    except BadImage as bad:
        raise UsageError(f"An image cannot be relabelled: {bad}.") from None
    with storage.exclusive(DOING):
        spans = published(storage)
        found, corrected = find(spans, wanted), _corrected(spans)

        def differs(image: Listed) -> bool:
            return corrected[image.sha256].label != label if image.sha256 in corrected else image.label != label

        return _write(storage, found, differs, RELABEL, to=label)


def withdraw(storage: Storage, wanted: Sequence[str], why: str, erase: bool = False) -> CorrectionOutcome:
    """Withdraws published images: nothing reads them any more. Raises UsageError when one is not there.

    With `erase` they are to be removed, too: see erasing.py.
    """
    if not why.strip():
        raise UsageError("--why is empty: write the reason, which is kept.")
    with storage.exclusive(DOING):
        spans = published(storage)
        found, corrected = find(spans, wanted), _corrected(spans)

        def is_present(image: Listed) -> bool:
            before = corrected.get(image.sha256)
            return not before or not before.withdrawn or (erase and not before.erase)

        return _write(storage, found, is_present, WITHDRAW, why=why, erase=erase)


def find(spans: Sequence[Span], wanted: Iterable[str]) -> dict[int, list[Listed]]:
    """Returns the images that are meant, by span; raises UsageError for one that is not there, or in several spans."""
    by_number = {span.number: span for span in spans}
    found: dict[int, dict[str, Listed]] = {}
    names = _Index(spans)
    for one in dict.fromkeys(wanted):
        number = int(one) if re.fullmatch(r"[1-9]\d{0,18}", one, re.ASCII) else number_of(one)
        if number in by_number:
            images = [(number, image) for image in by_number[number].listed]
        else:
            images = names.find(one)
        for number, image in images:
            found.setdefault(number, {})[image.sha256] = image
    return {number: list(images.values()) for number, images in sorted(found.items())}


class _Index:
    """Finds images by name or sha256; made when the first one is looked for."""

    def __init__(self, spans: Sequence[Span]):
        self._spans = spans
        self._by_name: dict[str, list[tuple[int, Listed]]] = {}
        self._by_digest: dict[str, tuple[int, Listed]] = {}

    def find(self, wanted: str) -> list[tuple[int, Listed]]:
        if not self._by_digest:
            self._read()
        if re.fullmatch(r"[0-9a-f]{12,64}", wanted):
            images = [
                image for image in self._by_digest.values() if any(one.startswith(wanted) for one in image[1].digests)
            ]
        else:
            folder, _, rest = wanted.partition("/")
            number = number_of(folder)
            images = self._by_name.get(wanted) or [
                image for image in self._by_name.get(rest, ()) if number and image[0] == number
            ]
        if not images:
            raise UsageError(
                f"There is no image or span {wanted!r}: `python -m ci export SPAN --to DIR` lists a span's."
            )
        if len(images) > 1:
            several = ", ".join(f"{name_of(number)}/{image.name}" for number, image in images[:5])
            raise UsageError(
                f"{wanted!r} names {len(images)} images: {several}. Name one of them so, or by its sha256."
            )
        return images

    def _read(self) -> None:
        for span in self._spans:
            erased = [image.published for image in span.corrections.images.values() if image.erase]
            for image in (*span.listed, *erased):
                if image.sha256 not in self._by_digest:
                    self._by_name.setdefault(image.name, []).append((span.number, image))
                    self._by_digest[image.sha256] = (span.number, image)


def _corrected(spans: Sequence[Span]) -> dict[str, Corrected]:
    return {sha256: image for span in spans for sha256, image in span.corrections.images.items()}


def _write(
    storage: Storage,
    found: Mapping[int, list[Listed]],
    needed: Callable[[Listed], bool],
    kind: str,
    **what: object,
) -> CorrectionOutcome:
    changed = {number: list(filter(needed, images)) for number, images in found.items()}
    changed = {number: images for number, images in changed.items() if images}
    for number, images in changed.items():
        corrections.write(storage, number, kind, images, **what)
    count = sum(map(len, changed.values()))
    return CorrectionOutcome(
        changed=count,
        unchanged=sum(map(len, found.values())) - count,
        spans={number: len(images) for number, images in changed.items()},
    )
