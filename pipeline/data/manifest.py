"""span.json, which lists what a published span consists of: its format, and how it is read with little memory."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.errors import BrokenSpan
from pipeline.storage.base import Kind, Storage

FOLDER = "spans"
MANIFEST = "span.json"
CORRECTIONS = "corrections"
SPLITS = ("train", "eval")
MAX_NUMBER = 2**63 - 1  # `span` is an int64 in the examples
MOST_CORRECTION_BYTES = 2**30  # of some four million images

# The end of the sources in span.json. JSON has no newline within a string, so it is nowhere else, and what follows, the
# summary, can be read without the sources.
END_OF_SOURCES = b"\n],\n"
SUMMARY_BYTES = 64 * 2**10  # holds some two thousand labels; of more, the whole manifest is read


class Listed(NamedTuple):
    """A source as `span.json` lists it."""

    name: str
    sha256: str
    label: str
    split: str
    generation: str
    group: str = ""  # images of one group are on one side of the split
    original: str = ""  # sha256 of the file that the image was converted from

    @property
    def digests(self) -> tuple[str, ...]:
        """sha256 by which the image is known: its own, and that of its original if there is one."""
        return (self.sha256, self.original) if self.original else (self.sha256,)


def name_of(number: int) -> str:
    """Returns the name of a span's folder."""
    return f"span-{number:04d}"


def manifest_of(number: int) -> str:
    """Returns the name of a span's manifest in the workspace."""
    return f"{FOLDER}/{name_of(number)}/{MANIFEST}"


def number_of(name: str) -> int | None:
    """Returns the number of a span's folder; None when it is not exactly what `name_of` returns for one."""
    match = re.fullmatch(r"span-(\d{4,19})", name, re.ASCII)
    number = int(match[1]) if match else 0
    return number if 0 < number <= MAX_NUMBER and name_of(number) == name else None


def published_files(storage: Storage) -> dict[int, set[str]]:
    """Returns {number: names of its files} of the spans that have a manifest, sorted by number, in one listing.

    Raises BrokenSpan for a number in another form, and where something else is in the place of a manifest, a correction
    or a span's folder: it would pass for a span, or a correction, that does not exist.
    """
    found: dict[int, set[str]] = {}
    for entry, kind in storage.list_all(FOLDER):
        _, folder, name = (*entry.name.split("/", 2), "")[:3]
        number = number_of(folder)
        if number is None:
            if folder.startswith("span-") and (name == MANIFEST or (kind is Kind.LINK and not name)):
                raise BrokenSpan(_shortened(folder), _not_canonical(folder))
            continue
        _check_kind(folder, name, kind)
        if kind is Kind.FILE:
            if correction_number(name) and entry.size > MOST_CORRECTION_BYTES:
                raise BrokenSpan(folder, f"{name} has {entry.size:,} bytes, more than any correction")
            found.setdefault(number, set()).add(name)
    return {number: names for number, names in sorted(found.items()) if MANIFEST in names}


def _check_kind(folder: str, name: str, kind: Kind) -> None:
    is_correction = name.startswith(f"{CORRECTIONS}/") and name.lower().endswith(".json")
    if is_correction and not correction_number(name):
        raise BrokenSpan(folder, f"{name} is not how a correction is called: {correction_name(1)}")
    if name == MANIFEST or is_correction:
        expected = Kind.FILE
    elif name in ("", CORRECTIONS):
        expected = Kind.FOLDER
    else:
        return
    if kind is not expected:
        raise BrokenSpan(folder, f"{name or 'it'} is a {kind.value}, not a {expected.value}")


def correction_name(number: int) -> str:
    """Returns the name in a span's folder of a correction."""
    return f"{CORRECTIONS}/{number:05d}.json"


def correction_number(name: str) -> int:
    """Returns the number of a correction, 0 when the name is not exactly what `correction_name` returns for one."""
    match = re.fullmatch(rf"{CORRECTIONS}/(\d{{5,9}})\.json", name, re.ASCII)
    number = int(match[1]) if match else 0
    return number if number and correction_name(number) == name else 0


def _not_canonical(folder: str) -> str:
    digits = folder.removeprefix("span-")
    if digits.isascii() and digits.isdigit() and 0 < int(digits[-4000:]) <= MAX_NUMBER and len(digits) < 4000:
        return f"the folder of span {int(digits)} is called {name_of(int(digits))}"
    return f"a span's folder is called span-0001, with a number of at most {MAX_NUMBER}"


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:32]}... ({len(name)} characters)"


def reaches_back(end: bytes) -> bool:
    """True when the last bytes of a manifest hold its whole summary, or show that it is damaged."""
    return END_OF_SOURCES in end or not end.rstrip().endswith(b"}")


def summary(number: int, data: bytes) -> dict[str, Any]:
    """Returns all of a manifest but its sources, from its bytes or only the last of them; raises BrokenSpan.

    Of bytes that end a manifest and do not reach back to its sources nothing can be read: check with `reaches_back`.
    """
    _, end, text = data.rpartition(END_OF_SOURCES)
    try:
        found = json.loads(b"{" + text if end else data)
    except (ValueError, RecursionError) as error:
        raise BrokenSpan(name_of(number), f"{MANIFEST} cannot be read ({error})") from None
    if wrong := _wrong(number, found):
        raise BrokenSpan(name_of(number), f"{MANIFEST} {wrong}")
    return found


def _wrong(number: int, found: Any) -> str:
    """Returns what in a summary is not as `summary` promises, "" when nothing is."""
    if not isinstance(found, dict):
        return f"holds {type(found).__name__}, but has to hold an object"
    kinds = {"created": str, "images": int, "labels": dict, "shards": dict}
    later = {"files": {}, "erased": []}  # that older ones lack
    for field, kind in (kinds | {field: type(default) for field, default in later.items()}).items():
        if not isinstance(found.get(field, later.get(field)), kind):
            return f"has no {field!r} of type {kind.__name__}"
    if found.get("span", number) != number:
        return f"names span {found['span']!r}"
    if (
        not all(map(_is_count, (found["images"], *found["labels"].values())))
        or sum(found["labels"].values()) != found["images"]
    ):
        return "counts other images than its labels have"
    if not all(isinstance(text, str) for text in (*found.get("files", {}).values(), *found.get("erased", ()))):
        return "names something else than sha256 of files and images"
    for split in found["shards"]:
        if split not in SPLITS or not isinstance(found["shards"][split], list):
            return f"names shards of {split!r}"
        for shard in found["shards"][split]:
            if not _is_shard(split, shard):
                return f"names the shard {shard!r}"
    if sum(shard["images"] for shards in found["shards"].values() for shard in shards) != found["images"]:
        return "counts other images than its shards have"
    return ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_shard(split: str, shard: Any) -> bool:
    return (
        isinstance(shard, dict)
        and isinstance(shard.get("name"), str)
        and re.fullmatch(rf"{split}/[\w.-]+\.tfrecord", shard["name"], re.ASCII) is not None
        and all(_is_count(shard.get(count)) for count in ("images", "bytes"))
        and isinstance(shard.get("sha256", ""), str)
    )


def sources(number: int, data: bytes, wanted: Collection[str] | None = None) -> Iterator[Listed]:
    """Yields the sources of a whole manifest, or those of the sha256 that are wanted; raises BrokenSpan.

    Reads it line by line where it is as this project writes it, and makes objects only of what is wanted.
    """
    try:
        for source in map(listed, _source_objects(data, wanted)):
            if wanted is None or source.sha256 in wanted:
                yield source
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenSpan(name_of(number), f"{MANIFEST} lists something else than sources ({error!r})") from None


def listed(source: dict) -> Listed:
    """Returns a source from its JSON; raises KeyError, TypeError or ValueError where that is something else."""
    return checked(
        Listed(
            source["name"],
            source["sha256"],
            source["label"],
            source["split"],
            source["generation"],
            source.get("group", ""),
            source.get("original", ""),
        )
    )


def checked(source: Listed) -> Listed:
    """Returns a source; raises TypeError or ValueError where a field is not what a source has."""
    if source.split not in SPLITS or not all(map(_SHA256.fullmatch, source.digests)):
        raise ValueError(f"{source.sha256!r} in {source.split!r}")
    "".join(source)  # raises TypeError where one is no text
    if not source.label.strip() or not source.label.isprintable():
        raise ValueError(f"the label {source.label!r}")
    return source


_SHA256 = re.compile("[0-9a-f]{64}")


def _source_objects(data: bytes, wanted: Collection[str] | None) -> Iterable[dict]:
    begin, end = data.find(b"[\n"), data.rfind(END_OF_SOURCES)
    if not data.startswith(b'{"sources": [\n') or end < 0:
        return json.loads(data)["sources"]
    lines = _lines(data, begin + 2, end)
    if wanted is not None:
        lines = (line for line in lines if (digest := _DIGEST.search(line)) and digest[1].decode() in wanted)
    return (json.loads(line.rstrip(b",")) for line in lines)


_DIGEST = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"')


def _lines(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        following = data.find(b"\n", begin, end)
        following = end if following < 0 else following
        yield data[begin:following]
        begin = following + 1


def digests(data: bytes) -> Iterator[bytes]:
    """Yields the sha256 of each image of a whole manifest, and of its original, without making objects of it."""
    # Those of the shards match, too, and do no harm: no image has them.
    for match in re.finditer(rb'"(?:sha256|original)":\s*"([0-9a-f]{64})"', data):
        yield bytes.fromhex(match[1].decode())
