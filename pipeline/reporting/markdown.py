"""Markdown for GitHub in which untrusted text stays text: no mention, link, HTML, image or command."""

from collections.abc import Iterable, Sequence

LONGEST = 60  # characters of a word that are shown


def code(text: str, longest: int = LONGEST) -> str:
    """Returns `text` as a code span, in which GitHub interprets nothing; also fit for a table.

    Characters that would end the span or the table's cell, and unprintable ones, are replaced.
    """
    return f"`{plain(text, longest).translate(_LOOK_ALIKE)}`"


_LOOK_ALIKE = str.maketrans({"`": "\N{MODIFIER LETTER GRAVE ACCENT}", "|": "\N{BROKEN BAR}"})


def plain(text: str, longest: int = LONGEST) -> str:
    """Returns `text` in one line, without terminal escapes and workflow commands; not escaped for Markdown."""
    shown = text if len(text) <= longest else f"{text[: longest - 1]}…"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    # both start a workflow command, the first at the start of a line, the second anywhere
    return shown.replace("::", ": :").replace("##[", "# #[") if shown.strip() else "(blank)"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], of_numbers: bool = True) -> str:
    """Returns a table; columns after the first are aligned right if they are `of_numbers`. Cells are Markdown."""
    marks = ["---", *["---:" if of_numbers else "---"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, marks, *rows))


def folded(summary: str, body: str) -> str:
    """Returns `body` folded behind the line `summary`."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
