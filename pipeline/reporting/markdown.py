"""Markdown as GitHub shows it, in which words from outside stay words: no mention, link, HTML, image or command."""

from collections.abc import Iterable, Sequence

LONGEST = 60  # characters of a word that are shown


def code(text: str, longest: int = LONGEST) -> str:
    """Returns `text` as a code span, in a table as elsewhere: the one place where GitHub looks for nothing in it.

    What would end the span or the table's cell, and what cannot be printed, becomes another character.
    """
    return f"`{plain(text, longest).translate(_LOOK_ALIKE)}`"


_LOOK_ALIKE = str.maketrans({"`": "\N{MODIFIER LETTER GRAVE ACCENT}", "|": "\N{BROKEN BAR}"})


def plain(text: str, longest: int = LONGEST) -> str:
    """Returns `text` in one line, without what a terminal or a workflow's log would obey; not escaped for Markdown."""
    shown = text if len(text) <= longest else f"{text[: longest - 1]}…"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    # both begin a workflow command, the first at a line's start, the second anywhere
    return shown.replace("::", ": :").replace("##[", "# #[") if shown.strip() else "(blank)"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], of_numbers: bool = True) -> str:
    """Returns a table; columns after the first are aligned right if they are `of_numbers`. Cells are Markdown."""
    marks = ["---", *["---:" if of_numbers else "---"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, marks, *rows))


def folded(summary: str, body: str) -> str:
    """Returns `body` behind a line that opens it."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
