"""Labelled images that wait in `collected/` to be evaluated and to become a span."""

import collections
import functools
import hashlib
import itertools
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.data.images import MOST_BYTES, BadImage, check, nearly_black
from pipeline.data.images.conversion import convert as png_of
from pipeline.data.images.conversion import original_of
from pipeline.data.incoming import conflicts, flat_names, listing, rejected
from pipeline.data.incoming.listing import LabelledFile
from pipeline.data.known import Known
from pipeline.data.span import published
from pipeline.errors import ImagesTooDeep, ObjectNotFound, SplitForLabel, UsageError
from pipeline.outcomes import Conflict, PreparedSpan, Rejected
from pipeline.storage.base import TOO_DEEP, Entry, Source, Storage, map_in_order, numbered_names, truncated_name
from pipeline.storage.factory import open_folder

log = logging.getLogger(__name__)

FOLDER = "collected"


def images(storage: Storage) -> Iterator[tuple[Entry, str]]:
    """Yields (file, label) of each image that waits, in no order and lazily: unread, so some may be unusable."""
    for entry in storage.unpublished(FOLDER):
        try:
            yield entry, label_of(entry.name[len(FOLDER) + 1 :])
        except BadImage:
            continue


def sources(storage: Storage) -> Iterator[Source]:
    """Reads all that waits, also what may turn out to be unusable: see `examine`."""
    return storage.unpublished_sources(FOLDER, MOST_BYTES)


def count_up_to(storage: Storage, limit: int) -> int:
    """Counts collected images, no further than `limit`: as cheap for a billion images as for a thousand.

    Images that the last evaluation left out (unusable or known already) do not count, as long as they are unchanged.
    """
    useless = left_out(storage)
    counted = (
        entry for entry, _ in images(storage) if entry.name not in useless or useless[entry.name] != entry.generation
    )
    return sum(1 for _ in itertools.islice(counted, limit))


@dataclass(frozen=True)
class Waiting:
    """What waits in `collected/`: how many images, and which (a digest of their names and generations, in no order)."""

    images: int
    digest: str


def waiting(storage: Storage) -> Waiting:
    """Lists what waits, without reading any image."""
    count, total = 0, 0
    for entry, _ in images(storage):
        count += 1
        # a sum does not depend on the order, which no listing guarantees
        total += int.from_bytes(hashlib.sha256(os.fsencode(f"{entry.name}\0{entry.generation}")).digest(), "big")
    return Waiting(count, f"{total % 2**256:064x}")


def remember_left_out(storage: Storage, left_out: Mapping[str, str]) -> None:
    """Writes which images an evaluation could not use, {name in the workspace: generation}, for `count_up_to`."""
    if left_out or storage.exists(LEFT_OUT):
        storage.write(LEFT_OUT, json.dumps(left_out).encode())


def left_out(storage: Storage) -> dict[str, str]:
    """Returns what `remember_left_out` wrote last; nothing when that is damaged: then these images count, too."""
    try:
        found = json.loads(storage.read(LEFT_OUT))
    except ObjectNotFound:  # asking whether it exists would take two calls more
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        log.warning("%s is damaged and not used; the next evaluation writes it again.", storage.address(LEFT_OUT))
        return {}
    return found


LEFT_OUT = "reports/left-out.json"


def add(
    storage: Storage,
    folder: str,
    progress: Callable[[int], None] = lambda done: None,
    separator: str = "",
    convert: bool = False,
) -> PreparedSpan:
    """Copies the usable images of a user's folder to `collected/`; calls `progress(images looked at)` now and then.

    An image of the same name that is there already is kept: the same bytes count as a duplicate, others get a name of
    their own. With `convert`, images of other formats become PNGs. What came under two labels, here or in a span, goes
    to `conflicts/`. Returns a PreparedSpan without a span. Raises UsageError when there is no such folder or nothing in
    it.
    """
    examination = _Examination(storage, folder, separator, convert)
    labels: Counter[str] = Counter()
    bad: list[Rejected] = []
    contested: list[Conflict] = []
    dark: list[Rejected] = []
    duplicates = 0

    def put(examined: tuple[Source, str, Rejected | Conflict | None]) -> bool:
        source, _, problem = examined
        if isinstance(problem, Rejected):
            return rejected.copy(storage, source, problem.reason)
        if isinstance(problem, Conflict):
            return conflicts.copy(storage, problem, source.data)
        return _write(storage, source)

    for done, ((source, label, problem), new) in enumerate(map_in_order(storage, put, examination), 1):
        if not done % PROGRESS_EVERY:
            progress(done)
        if isinstance(problem, Rejected):
            bad.append(problem)
        elif isinstance(problem, Conflict):
            contested.append(problem)
        elif new:
            labels[label] += 1
            if why := nearly_black(source.data):
                dark.append(Rejected(source.name, why))
        else:
            duplicates += 1
    for conflict in conflicts.move_all(storage, FOLDER, examination.contested):
        contested.append(conflict)
        labels -= Counter([conflict.label])
    return PreparedSpan(
        images=labels.total(),
        labels=dict(labels),
        rejected=tuple(bad),
        duplicates=duplicates,
        conflicts=tuple(contested),
        dark=tuple(dark),
    )


class _Examination:
    """Yields each source with its label, and with why it is not collected, or None.

    `contested` are those among them, with their sha256, that came under another label later on.
    """

    def __init__(self, storage: Storage, folder: str, separator: str, convert: bool):
        self._known, self._convert = Known(storage, published(storage)), convert
        self._folder, self._separator = folder, separator
        self._names: list[str] = []
        self.contested: dict[Conflict, str] = {}

    def __iter__(self) -> Iterator[tuple[Source, str, Rejected | Conflict | None]]:
        for source in sources_of(self._folder, self._separator):
            try:
                label = examine(source, self._convert)
                if label != label_of(source.name):  # which only a list can give
                    raise BadImage(f"unknown label: {label!r} is no folder's name; import it without --collect")
            except BadImage as bad:
                yield source, "", Rejected(source.name, str(bad))
                continue
            digest, original = hashlib.sha256(source.data).digest(), original_of(source.data)
            holder = self._known.holder(digest, original)
            if holder is None:
                self._known.add(digest, label, original)
                self._names.append(source.name)
            elif holder.withdrawn:
                if holder.erased:
                    source.problem = holder.reason  # so that no copy is kept in rejected/
                yield source, label, Rejected(source.name, holder.reason)
                continue
            elif holder.label != label:
                if holder.span is None:
                    first = Conflict(self._names[holder.position], holder.label, None, label)
                    self.contested[first] = digest.hex()
                yield source, label, Conflict(source.name, label, holder.span, holder.label)
                continue
            yield source, label, None


PROGRESS_EVERY = 200  # images


def _write(storage: Storage, source: Source) -> bool:
    """Returns False when it is there already."""
    for name in numbered_names(f"{FOLDER}/{source.name}"):
        # Not durable, because the originals stay where they are.
        if storage.write(name, source.data, create_only=True, durable=False):
            return True
        if rejected.holds(storage, name, source.data):
            return False


def sources_of(folder: str, separator: str = "") -> Iterator[Source]:
    """Reads a user's folder of images, or those that a list names (see listing.py).

    `separator` is where labels end in names of files that lie in no label's folder: see flat_names.py. Raises
    UsageError when there is no such folder, nothing in it, or images only in folders that lie deeper; and without a
    separator when it is not clear where labels end.
    """
    if folder.endswith(listing.ENDINGS):
        yield from listing.sources(folder, MOST_BYTES)
        return
    storage = open_folder(folder)
    if deeper := folder_that_is_meant(storage):
        raise ImagesTooDeep(folder, deeper)
    if not separator and (name := named_after_a_split(storage)):
        raise SplitForLabel(folder, name)
    sources = storage.sources("", MOST_BYTES)
    first = next(sources, None)
    if first is None:
        raise UsageError(f"There is nothing in {folder}: it should hold <label>/<image> or <label>_<image>.")
    if separator:
        label_in = flat_names.splitter(separator)
        yield from (_relabelled(source, label_in(source.name)) for source in itertools.chain([first], sources))
        return
    # Files in no folder come first, but not from a bucket. Only where there are any, names are looked at beforehand.
    if "/" not in first.name or folder.startswith("gs://"):
        flat_names.check(entry.name.removeprefix("/") for entry in storage.list(""))
    yield first
    yield from sources


def _relabelled(source: Source, label: str) -> Source:
    """Returns a source in the folder of its label, unless it is in one already or the label is not known."""
    if "/" in source.name or not label:
        return source
    name = f"{label}/{source.name}"
    return LabelledFile(name, label, "", source.data, source.problem, source.generation, source)


def folder_that_is_meant(storage: Storage) -> str:
    """Returns the folder in `storage` that holds most images as <label>/<image>; "" when `storage` itself holds one.

    So `photos/train` is found where `photos` was named. As a rule the first listed name answers it.
    """
    images: collections.Counter[str] = collections.Counter()
    for entry in storage.list(""):
        around, _, last = entry.name.lstrip("/").rpartition("/")
        if not last.lower().endswith(EXTENSIONS):
            continue
        above, _, label = around.rpartition("/")
        if not above and (label or "_" in last):
            return ""
        images[above] += bool(above)
    return max(sorted(+images), key=images.get, default="")


def named_after_a_split(storage: Storage) -> str:
    """Returns the name of an image when all lie, as <label>_<image>, in folders such as train/; else "".

    As a rule the first listed name answers it.
    """
    found = ""
    for entry in storage.list(""):
        name = entry.name.lstrip("/")
        if not name.lower().endswith(EXTENSIONS):
            continue
        folder, _, last = name.partition("/")
        if folder.lower() not in _SPLITS or "/" in last or "_" not in last:
            return ""
        found = min(found or name, name)
    return found


_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval", "images", "data"}
EXTENSIONS = (".jpg", ".jpeg", ".png")


def examine(source: Source, convert: bool = False) -> str:
    """Returns the label of something that can be used; raises BadImage.

    With `convert`, an image of another format becomes a PNG, and is named so.
    """
    if source.problem:
        raise BadImage(source.problem)
    label = label_text(source.label) if isinstance(source, LabelledFile) else label_of(source.name)
    data = png_of(source.data) if convert else source.data
    check(data)
    if data is not source.data:
        folder, slash, last = source.name.rpartition("/")
        source.data, source.name = data, f"{folder}{slash}{truncated_name(last, '.png')}"
    return label


def label_of(name: str) -> str:
    """Returns the label of `<label>/<image>` or `<label>_<image>`; raises BadImage when there is none."""
    folder, slash, last = name.partition("/")
    if "/" in last:
        raise BadImage(TOO_DEEP)
    label, underscore, _ = (folder, True, "") if slash else name.partition("_")
    if not underscore:
        raise BadImage("unknown label: the name is neither <label>/<image> nor <label>_<image>")
    return label_text(label)


@functools.lru_cache(maxsize=4096)
def label_text(text: str) -> str:
    """Returns a label in the form in which labels are compared; raises BadImage when it is no readable text."""
    # macOS takes an accent for a character of its own, others do not: it is the same label.
    label = unicodedata.normalize("NFC", text)
    if not label.strip() or not label.isprintable():
        raise BadImage(f"unknown label: {ascii(label)} is no readable text")
    return label
