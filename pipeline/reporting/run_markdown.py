"""A run's report as Markdown for pull requests and workflow pages, and as text for a terminal.

Labels, reasons and names are untrusted: each is escaped as a code span.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import numbers
from pipeline.formatting import change, duration, megabytes, percent, threshold
from pipeline.reporting import mermaid
from pipeline.reporting.markdown import code, folded, plain, table
from pipeline.reporting.run_report import REHEARSAL, Device, RunReport

OPEN = 12  # rows of a table that is not folded
SHOWN = 50  # rows of any table
SENTENCE = 300  # characters of a reason
IMAGES = {
    "full-codebase": "built by Cloud Build, in ten to twenty minutes",
    "modules-only": "none is built, the modules alone are copied",
    "none": "none is built, and nothing is trained",
}


def markdown(report: RunReport) -> str:
    """Returns the report as Markdown with the verdict in its first line; always below 60,000 characters."""
    return "\n\n".join([f"### {verdict(report)}", *_parts(report)]) + "\n"


def text(report: RunReport) -> str:
    """Returns the report in a few lines for a terminal or a log."""
    lines = [f"{verdict(report)}."]
    if report.current:
        lines.append(
            f"{_other(report, 'The')} gets {percent(report.current.metrics.accuracy)} of the same images right."
        )
    elif report.uncompared:
        lines.append(f"Not compared: {plain(report.uncompared, SENTENCE)}.")
    if report.device:
        lines.append(_device(report.device))
    return "\n".join([*lines, *(f"  {plain(reason, SENTENCE)}" for reason in report.reasons[:OPEN])])


def verdict(report: RunReport) -> str:
    """'Rehearsal: good enough to be released, 96.7 % right (+0.8 points)'."""
    ended = "good enough to be released" if report.blessed else "not good enough to be released"
    if report.release and report.kind != REHEARSAL:
        ended = f"released as {_word(report.release)}"
    points = ""
    if report.current:
        points = f" ({change(report.current.metrics.accuracy, report.metrics.accuracy)} points)"
    return f"{report.kind.capitalize()}: {ended}, {percent(report.metrics.accuracy)} right{points}"


def _parts(report: RunReport) -> Iterator[str]:
    yield " ".join(_sentences(report))
    if report.reasons:
        yield "\n".join(f"- {code(reason, SENTENCE)}" for reason in report.reasons[:OPEN])
    for kind in ("label", "span"):
        rows = _rows(report, f"per_{kind}")
        if len(rows) > 1:
            yield from _plot(report, kind, rows)
            yield _table(report, kind, rows)
    if costs := list(_costs(report)):
        yield table(["a push of this", ""], costs, of_numbers=False)
    if report.durations:
        yield _durations(report)
    yield folded("Lineage", _beside(report, ["", "this run"], _lineage(report), of_numbers=False))


def _sentences(report: RunReport) -> Iterator[str]:
    """Yields sentences about the numbers: what they were measured on, and compared with."""
    pictures = "pictures of handwritten digits" if report.kind == REHEARSAL else "images"
    images = f"{report.metrics.images:,} {pictures} that were kept out of training"
    current = report.current
    if current:
        yield f"{_other(report, 'The')} gets {percent(current.metrics.accuracy)} of the same {images} right."
    else:
        yield f"Evaluated on {images}."
    if report.uncompared:
        yield f"Not compared: {code(report.uncompared, SENTENCE)}."
    if report.device:
        yield _device(report.device)
    if report.threshold is not None:
        yield f"Needed: {threshold(report.threshold)}."
    if current and report.modules_digest and report.modules_digest == current.modules_digest:
        yield "Both have the same modules."
    if current and current.new_labels:
        more = f" and {len(current.new_labels) - 10:,} more" if len(current.new_labels) > 10 else ""
        yield f"Labels that it did not know: {', '.join(map(code, current.new_labels[:10]))}{more}."


def _device(device: Device) -> str:
    return (
        f"The device model, {megabytes(device.bytes)}, gets {percent(device.accuracy)} right, and the same label as the"
        f" other model for {percent(device.agreement)} of the images."
    )


def _other(report: RunReport, article: str = "the") -> str:
    """'the base c0ffee1' of a rehearsal, else the release's tag."""
    if report.kind != REHEARSAL:
        return _word(report.current.release)
    return f"{article} base {_word(report.current.commit[:7])}" if report.current.commit else f"{article} base"


@dataclass(frozen=True)
class _Row:
    """Accuracy of both models on one span or label."""

    name: str
    now: float | None
    before: float | None

    @property
    def order(self) -> tuple[float, float]:
        """Sort key: the largest loss first, then the worst."""
        return (self.now or 0) - (self.before or 0), self.now or 0


def _rows(report: RunReport, part: str) -> list[_Row]:
    before = getattr(report.current.metrics, part) if report.current else {}
    return [_Row(name, of, before.get(name)) for name, of in getattr(report.metrics, part).items()]


def _worst(rows: Sequence[_Row], most: int) -> Sequence[_Row]:
    """Returns all in their order, or those of too many that lost most."""
    return rows if len(rows) <= most else sorted(rows, key=lambda row: row.order)[:most]


def _plot(report: RunReport, kind: str, rows: Sequence[_Row]) -> Iterator[str]:
    shown = [row for row in _worst(rows, mermaid.MOST_BARS) if row.now is not None]
    if not shown:
        return
    before = [row.before or 0.0 for row in shown] if report.current else []
    yield mermaid.bars(f"Right per {kind} in percent", [row.name for row in shown], [row.now for row in shown], before)
    key = [f"the {len(shown)} worst of {len(rows):,}"] if len(shown) < len(rows) else []
    key += [f"bars: this run, line: {_other(report)}"] if report.current else []
    if key:
        yield f"<sub>{'; '.join(key)}</sub>"


def _table(report: RunReport, kind: str, rows: Sequence[_Row]) -> str:
    shown = _worst(rows, SHOWN)
    cells = ([code(row.name), percent(row.now), percent(row.before), change(row.before, row.now)] for row in shown)
    made = _beside(report, [kind, "this run"], cells, "change")
    if len(rows) <= OPEN:
        return made
    return folded(f"The {len(shown)} worst of {len(rows):,}" if len(shown) < len(rows) else f"All {len(rows)}", made)


def _beside(
    report: RunReport, heads: Sequence[str], rows: Iterable[Sequence[str]], *more: str, of_numbers: bool = True
) -> str:
    """Returns a table; its columns after the second exist only when there is a model to compare with."""
    if report.current:
        return table([*heads, _other(report), *more], rows, of_numbers)
    return table(heads, (row[:2] for row in rows), of_numbers)


def _costs(report: RunReport) -> Iterator[tuple[str, str]]:
    if report.branch:
        yield "takes the branch", f"{code(report.branch)}{f' ({code(report.why, SENTENCE)})' if report.why else ''}"
        yield "image", IMAGES[report.branch]
    if report.machines and report.branch != "none":
        yield "training in the cloud", f"one, on {code(report.machines, SENTENCE)}"


def _durations(report: RunReport) -> str:
    longest = max(report.durations, key=lambda of: of.seconds)
    rows = [[code(of.node), of.state, duration(of.seconds)] for of in report.durations]
    return folded(
        f"It took {duration(report.seconds)}, most of it {_word(longest.node)}", table(["node", "", "took"], rows)
    )


def _lineage(report: RunReport) -> Iterator[Sequence[str]]:
    before, unknown = report.current, "not known"
    known = (before.commit, before.modules_digest, before.release) if before else ("", "", "")
    yield "commit", code(report.commit or unknown, 70), code(known[0] or unknown, 70)
    yield "modules", code(report.modules_digest or unknown, 64), code(known[1] or unknown, 64)
    if report.kind != REHEARSAL:  # a rehearsal's release is deleted with its folder
        yield "release", code(report.release or "none"), code(known[2])
    yield "spans", code(numbers(report.spans), SENTENCE), ""
    yield "identity", code(report.identity, 64), ""
    yield "created", code(report.created), ""


def _word(name: str) -> str:
    """Returns a name outside of a code span: other characters than letters, digits and dashes become underscores."""
    return re.sub(r"[^A-Za-z0-9-]", "_", name)[:40]
