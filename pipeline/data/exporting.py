"""Images of a span as files again."""

import csv
import io
import re
from collections.abc import Callable

from pipeline.data.manifest import MANIFEST, SPLITS, name_of
from pipeline.data.span import Span
from pipeline.errors import BrokenSpan, UsageError
from pipeline.storage.base import Storage

INDEX = "images.csv"
FIELDS = ("image", "label", "group", "split", "sha256", "name", "original")


def export(span: Span, label: str | None, to: Storage, progress: Callable[[int], None] = lambda done: None) -> int:
    """Writes the images of a span, as corrected, to `to`: `<label>/<sha256>.jpg`, and images.csv, which lists them.

    Images that are there already are not written again. Returns how many images there are; raises UsageError when there
    is none of this label.
    """
    sources = {source.sha256: source for source in span.sources}
    rows = []
    for split in SPLITS:
        for example in span.examples(split):
            if label not in (None, example.label):
                continue
            source = sources.get(example.source)
            if source is None:
                raise BrokenSpan(name_of(span.number), f"{MANIFEST} does not list an image that it holds")
            name = f"{_folder(example.label)}/{example.source}.{suffix(example.image)}"
            to.write(name, example.image, create_only=True, durable=False)
            rows.append((name, example.label, source.group, split, example.source, source.name, source.original))
            if not len(rows) % 200:
                progress(len(rows))
    if not rows:
        wanted = "images" if label is None else f"images of label {label!r}"
        raise UsageError(f"Span {span.number} has no {wanted}: see `python -m ci status`.")
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerows([FIELDS, *sorted(rows)])
    to.write(INDEX, written.getvalue().encode("utf-8", "surrogateescape"))
    return len(rows)


def _folder(label: str) -> str:
    """Returns a folder's name for a label; images.csv has the label itself."""
    return re.sub(r"[/\\:]|^\.+|\0", "_", label)[:100] or "_"


def suffix(image: bytes) -> str:
    """Returns the ending of a file's name for an image: png or jpg."""
    return "png" if image.startswith(b"\x89PNG") else "jpg"
