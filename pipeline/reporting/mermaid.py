"""Charts in Mermaid's language, which GitHub draws in comments and job summaries: no image has to be hosted."""

import json
from collections.abc import Sequence

from pipeline.formatting import counted

MOST_BARS = 12
LONGEST = 24  # characters of a bar's name
COLOURS = "#4a86e8, #e07b39"  # of bars and line, readable on white as on black


def bars(title: str, names: Sequence[str], now: Sequence[float], before: Sequence[float] = ()) -> str:
    """Returns a code block with a chart of at most MOST_BARS shares in percent: bars, and a line for `before`.

    In all text, characters but letters, digits and spaces become underscores, because Mermaid interprets text.
    """
    if len(names) > MOST_BARS:
        raise ValueError(f"{counted(len(names), 'bar')}, but {MOST_BARS} fit")
    size = {"width": 760, "height": 60 + 26 * len(names)}
    settings = {"xyChart": size, "themeVariables": {"xyChart": {"plotColorPalette": COLOURS}}}
    lines = [
        "```mermaid",
        f"%%{{init: {json.dumps(settings)}}}%%",
        "xychart-beta horizontal",
        f'  title "{_escaped(title, 80)}"',
        f"  x-axis [{', '.join(_distinct(names))}]",
        "  y-axis 0 --> 100",
        f"  bar [{_values(now)}]",
        *([f"  line [{_values(before)}]"] if before else []),
        "```",
    ]
    return "\n".join(lines)


def _values(shares: Sequence[float]) -> str:
    return ", ".join(f"{share * 100:.1f}" for share in shares)


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns escaped names in quotes, all different: Mermaid would draw equal ones on top of each other."""
    found: list[str] = []
    for name in names:
        shown, copies = _escaped(name, LONGEST), 1
        while shown in found:
            copies += 1
            shown = f"{_escaped(name, LONGEST - 3)} {copies}"
        found.append(shown)
    return [f'"{name}"' for name in found]


def _escaped(text: str, longest: int) -> str:
    shown = "".join(c if c.isalnum() or c == " " else "_" for c in text).strip()
    return shown[:longest].strip() or "_"
