"""Plots as Mermaid's text, which GitHub draws in comments and job summaries: no picture has to lie anywhere."""

import json
from collections.abc import Sequence

from pipeline.formatting import counted

MOST_BARS = 12
LONGEST = 24  # characters of a bar's name
COLOURS = "#4a86e8, #e07b39"  # of bars and line, readable on white as on black


def bars(title: str, names: Sequence[str], now: Sequence[float], before: Sequence[float] = ()) -> str:
    """Returns a chart of at most MOST_BARS shares in percent, as a code block: bars, and a line of those before.

    All text is made harmless: what is not a letter, a digit or a space becomes a low line, for Mermaid reads text, too.
    """
    if len(names) > MOST_BARS:
        raise ValueError(f"{counted(len(names), 'bar')}, but {MOST_BARS} fit")
    size = {"width": 760, "height": 60 + 26 * len(names)}
    settings = {"xyChart": size, "themeVariables": {"xyChart": {"plotColorPalette": COLOURS}}}
    lines = [
        "```mermaid",
        f"%%{{init: {json.dumps(settings)}}}%%",
        "xychart-beta horizontal",
        f'  title "{_harmless(title, 80)}"',
        f"  x-axis [{', '.join(_unlike(names))}]",
        "  y-axis 0 --> 100",
        f"  bar [{_values(now)}]",
        *([f"  line [{_values(before)}]"] if before else []),
        "```",
    ]
    return "\n".join(lines)


def _values(shares: Sequence[float]) -> str:
    return ", ".join(f"{share * 100:.1f}" for share in shares)


def _unlike(names: Sequence[str]) -> list[str]:
    """Returns harmless names in quotes, no two alike: Mermaid would draw those on top of each other."""
    found: list[str] = []
    for name in names:
        shown, copies = _harmless(name, LONGEST), 1
        while shown in found:
            copies += 1
            shown = f"{_harmless(name, LONGEST - 3)} {copies}"
        found.append(shown)
    return [f'"{name}"' for name in found]


def _harmless(text: str, longest: int) -> str:
    shown = "".join(c if c.isalnum() or c == " " else "_" for c in text).strip()
    return shown[:longest].strip() or "_"
